"""The same clip from a file and from an RTSP server: the same people at the same times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import Gallery, Left, Settings

from tests.faces import portrait
from tests.servers.rtsp import RtspServer

from .watcher import LiveRun, Watcher

pytestmark = pytest.mark.live

EVERY = 4
"""Frames from one search to the next: what one core keeps up with in real time."""
FPS, SIZE = 29.97, (640, 360)
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Stay:
    """Who was there, in frames since the first one."""

    name: str
    first: float
    last: float


@pytest.fixture(scope="module")
def cast(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The people of the clip."""
    path = tmp_path_factory.mktemp("cast") / "cast.db"
    with Gallery(path) as gallery:
        for person in ("lacamoire", "miranda", "obama"):
            for photo in sorted((shared_data / "stills" / person).iterdir())[:3]:
                gallery.add(person, photo)
    return path


def stays(seen: Watcher, source: str) -> list[Stay]:
    """The sightings of people with a name."""
    begin = seen.frames[source][0].pts
    return sorted(
        (
            Stay(e.name, (e.start.pts - begin) * FPS, (e.end.pts - begin) * FPS)
            for e in seen.events
            if isinstance(e, Left) and e.known
        ),
        key=lambda stay: (stay.first, stay.name),
    )


@pytest.mark.shared_data
def test_a_camera_and_a_file_of_the_same_pictures_show_the_same_people(
    shared_data: Path, cast: Path
) -> None:
    clip = shared_data / "videos" / "hamilton_640x360.mp4"
    settings = Settings().with_values({"tracking.detect_every": EVERY})
    with LiveRun([clip], settings=settings, gallery=cast) as run:
        run.join()
    of_file = stays(run.seen, str(clip))
    assert of_file
    for _ in range(ATTEMPTS):
        seen, dropped = watched(clip, settings, cast)
        of_camera = stays(seen, "door")
        # A frame that was dropped moves a time to the next search.
        if agree(of_camera, of_file, within=1 + EVERY * min(dropped, 1)):
            return
        if not dropped:
            assert of_camera == of_file
    # A busy machine drops frames of a camera, as it should: the pictures were not the same.
    pytest.skip(f"this machine is too busy: {dropped} of the camera's frames were dropped")


def agree(some: list[Stay], others: list[Stay], *, within: float) -> bool:
    """The same names, and times that differ by at most so many frames."""
    return [stay.name for stay in some] == [stay.name for stay in others] and all(
        abs(one.first - other.first) <= within and abs(one.last - other.last) <= within
        for one, other in zip(some, others, strict=True)
    )


def watched(clip: Path, settings: Settings, cast: Path) -> tuple[Watcher, int]:
    """What a camera that shows the clip once gave, and how many searched frames were dropped."""
    with RtspServer({"/clip": clip}) as server:
        run = LiveRun([("door", server.url("/clip"))], settings=settings, gallery=cast)
        run.pipeline.warm_up(np.asarray(cv2.resize(portrait(), SIZE), np.uint8))
        with run:
            run.seen.wait_state("door", "retrying", "ended")
            report = run.stop()
    return run.seen, sum(report.dropped.values())
