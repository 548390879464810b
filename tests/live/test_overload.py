"""Inference slower than the cameras: ages stay bounded, every camera gets its share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import pytest
from facestream.pipeline import Settings
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.metrics.families import STAGE_SECONDS

from tests.faces import walking_face
from tests.servers.web import WebServer

from .watcher import LiveRun

pytestmark = pytest.mark.live

RATES = {"slow": 4.0, "usual": 12.0, "quick": 25.0, "hasty": 50.0}
ROUND = 0.15
"""Seconds that the detector is made to take for a batch: six or seven rounds a second."""


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    pictures = [
        cv2.imencode(".jpg", walking_face(index, (320, 240)))[1].tobytes() for index in range(50)
    ]
    folder: Path = tmp_path_factory.mktemp("nothing")
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(WebServer(folder, pictures=pictures, fps=rate))
            for name, rate in RATES.items()
        }
        yield [(name, server.url("/mjpeg")) for name, server in servers.items()]


@pytest.fixture
def slow_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Mtcnn.detect_batch

    def slowed(self: Mtcnn, images: Sequence[Any], **options: Any) -> Any:
        time.sleep(ROUND)
        return real(self, images, **options)

    monkeypatch.setattr(Mtcnn, "detect_batch", slowed)


@pytest.mark.usefixtures("slow_detector")
def test_every_camera_gets_its_share_and_frames_do_not_grow_old(
    cameras: list[tuple[str, str]], quick: Settings
) -> None:
    settings = quick.with_values({"tracking.detect_every": 1, "tracking.search": "whole"})
    with LiveRun(cameras, settings=settings) as run:
        for name in RATES:
            run.seen.wait_frames(name)
        before = {name: run.seen.count(name) for name in RATES}
        run.seen.wait_frames("slow", more=16)
        got = {name: run.seen.count(name) - before[name] for name in RATES}
        report = run.stop()
        metrics = run.pipeline.metrics
    sources = {source.name: source for source in report.sources}
    # The others are quicker than the rounds: each has a frame in nearly every round.
    assert min(got["usual"], got["quick"], got["hasty"]) >= 0.8 * max(got.values())
    for name in ("quick", "hasty"):
        assert sources[name].dropped["superseded"] > 0
    # Age: a frame waits for less than a round, and takes one.
    detect = metrics.distribution(STAGE_SECONDS, stage="detect")
    recognise = metrics.distribution(STAGE_SECONDS, stage="recognise")
    assert detect is not None
    assert recognise is not None
    one_round = detect.quantile(0.95) + recognise.quantile(0.95)
    # The slow camera's frames are rarer than the rounds: hardly any is superseded. Where a busy
    # machine makes the rounds longer, of those that exceed the rounds as well.
    lost = sources["slow"].dropped.get("superseded", 0)
    excess = max(0.0, RATES["slow"] * one_round - 1)
    assert lost <= (0.15 + excess) * run.seen.count("slow")
    for source in sources.values():
        assert source.age is not None
        assert source.age.p95 < 2 * one_round + 0.1
