"""Inference slower than the cameras: ages stay bounded, every camera gets its share."""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.pipeline import Settings
from facestream.pipeline.detection.mtcnn.detector import Mtcnn

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
def calls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the calls of a slow detector began."""
    real, began = Mtcnn.detect_batch, []

    def slowed(self: Mtcnn, images: Sequence[Any], **options: Any) -> Any:
        began.append(time.monotonic())
        time.sleep(ROUND)
        return real(self, images, **options)

    monkeypatch.setattr(Mtcnn, "detect_batch", slowed)
    return began


def test_every_camera_gets_its_share_and_frames_do_not_grow_old(
    cameras: list[tuple[str, str]], quick: Settings, calls: list[float]
) -> None:
    settings = quick.with_values({"tracking.detect_every": 1, "tracking.search": "whole"})
    with LiveRun(cameras, settings=settings) as run:
        for name in RATES:
            run.seen.wait_frames(name)
        before = {name: run.seen.count(name) for name in RATES}
        run.seen.wait_frames("slow", more=12)
        frames = {name: run.seen.frames[name][before[name] :] for name in RATES}
        report = run.stop()
    got = {name: len(seen) for name, seen in frames.items()}
    dropped = {source.name: source.dropped.get("superseded", 0) for source in report.sources}
    # The others are quicker than the rounds: each has a frame in nearly every round.
    assert min(got["usual"], got["quick"], got["hasty"]) >= 0.8 * max(got.values()) - 1
    for name in ("quick", "hasty"):
        assert dropped[name] > 0
    # The slow camera has all its frames; where a busy machine makes the rounds longer than its
    # pauses, it has as many as the others.
    few = dropped["slow"] <= 0.15 * run.seen.count("slow")
    assert few or got["slow"] >= 0.8 * max(got.values()) - 1
    # Age: a frame waits for one call of the detector, has one, and waits while others are
    # recognised, of which there are few.
    for name, seen in frames.items():
        ages = [bisect(calls, one.at) - bisect(calls, one.captured) for one in seen]
        assert np.quantile(ages, 0.95) <= 4, f"{name}: {ages}"
