"""A crowded camera and one with large pictures beside a good one, with real frames."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import Gallery, Settings
from facestream.pipeline.core.events import Identified
from facestream.pipeline.metrics.families import FACES_LEFT_OUT

from tests.faces import portrait, portrait_path, walking_face
from tests.servers.web import WebServer

from .watcher import LiveRun

pytestmark = pytest.mark.live


def crowd(index: int) -> np.ndarray:
    """Eight faces that change their places from frame to frame."""
    face = cv2.resize(portrait()[30:220, 130:320], (110, 110))
    picture = np.full((300, 640, 3), 110, np.uint8)
    for place in range(8):
        x, y = 160 * (place % 4) + 45 * (index % 2), 150 * (place // 4) + 20 * (index % 3)
        picture[y : y + 110, x : x + 110] = face[:, :: 1 - 2 * (place % 2)]
    return picture


def jpeg(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", picture)[1])


def test_the_good_camera_names_people_and_what_is_left_out_is_counted(
    tmp_path: Path, quick: Settings
) -> None:
    pictures = {
        "good": [jpeg(walking_face(i, (320, 240))) for i in range(40)],
        "crowd": [jpeg(crowd(i)) for i in range(6)],
        "large": [jpeg(cv2.resize(walking_face(i, (320, 240)), (1600, 1200))) for i in range(2)],
        "huge": [jpeg(np.zeros((1600, 1700, 3), np.uint8))],
    }
    limits = {"limits.faces": 5, "limits.embeddings": 4.0, "tracking.detect_every": 1}
    limits |= {"limits.megapixels": 0.5, "limits.most_megapixels": 2.5}
    people = tmp_path / "people.db"
    with Gallery(people) as gallery:
        list(gallery.add("Eileen", portrait_path()))
    with ExitStack() as stack:
        cameras = [
            (name, stack.enter_context(WebServer(tmp_path, pictures=some, fps=8)).url("/mjpeg"))
            for name, some in pictures.items()
        ]
        with LiveRun(cameras, settings=quick.with_values(limits), gallery=people) as run:
            for name in ("crowd", "large", "good"):
                run.seen.wait_frames(name, more=4)
            run.seen.wait(
                lambda: any(
                    isinstance(event, Identified) and event.source == "good"
                    for event in run.seen.events
                ),
                "the good camera names its person",
            )
            run.seen.wait(
                lambda: (
                    run.pipeline.metrics.value(FACES_LEFT_OUT, source="crowd", cause="faces") > 0
                ),
                "faces of the crowd are left out",
            )
            run.seen.wait_state("huge", "retrying")
            report = run.stop()
            assert all(seen.faces <= 5 for seen in run.seen.frames["crowd"])
            # Nearly half a megapixel, in the shape of the camera's.
            ((width, height),) = run.seen.sizes("large")
            assert 0.4e6 < width * height <= 0.5e6
            assert abs(width / height - 4 / 3) < 0.01
    by_name = {source.name: source for source in report.sources}
    assert by_name["crowd"].left_out["faces"] > 0
    assert not by_name["good"].left_out.get("faces")
    reasons = [event.reason or "" for event in run.seen.states("huge")]
    assert any("1700x1600 pixels" in reason for reason in reasons)
    assert not run.seen.count("huge")
