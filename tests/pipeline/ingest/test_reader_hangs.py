"""Native calls that hang, schedules, and failures of our own: the sources are made up here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from av.video.frame import VideoFrame
from facestream.engines.closing import Closing
from facestream.pipeline.core.config import LiveSettings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame
from facestream.pipeline.sources import Source, SourceInfo, SourceOptions, SourceSpec
from facestream.pipeline.sources.convert import Converter
from facestream.pipeline.sources.decode import DecodedPicture

from tests.pipeline.ingest.loopback import reading_threads, watching

SPEC = SourceSpec("url", "test://x", "test")
QUICK = LiveSettings(
    open_timeout=0.2, read_timeout=0.3, stall_after=0.15, retry_first=0.01, retry_longest=0.01
)
INFO = SourceInfo(64, 48, 25.0, None, None, "arrival")


class Camera(Closing):
    """Gives some pictures, then waits for a signal that native code would wait for."""

    name = "test"
    live, bursts, whole = True, False, False
    info, corrupt, decoded, skipped = INFO, 0, 0, 0

    def __init__(self, pictures: int, released: threading.Event) -> None:
        self.problems: list[str] = []
        self.closed = False
        self._pictures = pictures
        self._released = released

    def pictures(self) -> Iterator[DecodedPicture]:
        converter = Converter(1.0)
        for number in range(self._pictures):
            image = np.full((48, 64, 3), number, np.uint8)
            yield DecodedPicture(VideoFrame.from_ndarray(image, format="bgr24"), None, converter)
            time.sleep(0.01)
        self._released.wait()  # deaf to ``halt``
        yield DecodedPicture(VideoFrame(64, 48, "yuv420p"), None, converter)

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def stop(self) -> None:
        """Deaf."""

    def close(self) -> None:
        self.closed = True


class Maker:
    """Opens cameras, and remembers them."""

    def __init__(self, pictures: int) -> None:
        self.released = threading.Event()
        self.opened: list[Camera] = []
        self._pictures = pictures

    def __call__(self, _: SourceSpec, __: SourceOptions) -> Source:
        self.opened.append(Camera(self._pictures, self.released))
        return self.opened[-1]


@pytest.fixture
def hanging() -> Iterator[Maker]:
    maker = Maker(5)
    yield maker
    maker.released.set()
    deadline = time.monotonic() + 5
    while reading_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reading_threads() == []
    assert all(camera.closed for camera in maker.opened)


def test_a_read_that_hangs_is_left_alone_and_its_late_frames_are_not_wanted(hanging: Maker) -> None:
    with watching(SPEC, live=QUICK, opener=hanging) as watched:
        watched.until(lambda: watched.reader.state.restarts >= 1)
        first = hanging.opened[0]
        assert not first.closed
        hanging.released.set()
        watched.until(lambda: first.closed)
        assert watched.stop() < 2
    assert {frame.image.shape for frame in watched.frames} == {(48, 64, 3)}
    assert watched.events[3].reason == "no frame for 0.3 s"
    assert watched.states[:4] == ["connecting", "live", "stalled", "retrying"]


def test_reads_that_hang_do_not_pile_up(hanging: Maker) -> None:
    with watching(SPEC, live=QUICK, opener=hanging) as watched:
        watched.until(lambda: "earlier reads still hang" in [e.reason for e in watched.events])
        count = len(hanging.opened)
        assert count <= 5
        assert len(reading_threads()) == count
        time.sleep(0.5)
        assert len(hanging.opened) == count
        hanging.released.set()  # the network is back: so are we
        watched.until(lambda: len(hanging.opened) > count)


def test_stop_does_not_wait_for_a_hanging_read(hanging: Maker) -> None:
    patient = LiveSettings(stall_after=100, read_timeout=100)
    with watching(SPEC, live=patient, opener=hanging) as watched:
        watched.until(lambda: len(watched.frames) == 5)
        assert watched.stop() < 2
        assert watched.states == ["connecting", "live", "ended"]


def test_stop_while_opening_hangs() -> None:
    released = threading.Event()

    def opener(_: SourceSpec, __: SourceOptions) -> Source:
        released.wait()
        raise SourceError("too late")

    with watching(SPEC, opener=opener) as watched:
        watched.until_state("connecting")
        assert watched.stop() < 2
    released.set()


class Shifts:
    """Open before ``closes`` and from ``opens`` on."""

    def __init__(self, closes: datetime, opens: datetime) -> None:
        self._closes = closes
        self._opens = opens

    def open_at(self, when: datetime) -> bool:
        return when < self._closes or when >= self._opens

    def next_change(self, when: datetime) -> datetime | None:
        return next((change for change in (self._closes, self._opens) if change > when), None)


def test_outside_its_schedule_it_is_paused() -> None:
    maker = Maker(10_000)
    now = datetime.now(UTC)
    shifts = Shifts(now + timedelta(seconds=0.5), now + timedelta(seconds=1.5))
    with watching(SPEC, live=QUICK, opener=maker, schedule=shifts) as watched:
        watched.until_state("paused")
        assert len(maker.opened) == 1
        watched.until(lambda: maker.opened[0].closed)
        watched.until_state("live")
        assert watched.stop() < 2
    assert watched.states == ["connecting", "live", "paused", "connecting", "live", "ended"]


def test_stop_while_it_is_paused() -> None:
    now = datetime.now(UTC)
    shifts = Shifts(now, now + timedelta(days=1))
    with watching(SPEC, opener=Maker(1), schedule=shifts) as watched:
        watched.until_state("paused")
        assert watched.stop() < 1
    assert watched.states == ["paused", "ended"]


def test_a_source_that_raises_again_and_again_is_parked_without_its_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def opener(_: SourceSpec, __: SourceOptions) -> Source:
        raise ZeroDivisionError("rtsp://bob:hush@door/x")

    caplog.set_level("DEBUG", "facestream")
    with watching(SPEC, live=QUICK, opener=opener) as watched:
        watched.thread.join(10)
    assert watched.states == ["connecting", "retrying", "failed"]
    reason = "given up after 5 errors in a row in decode, the last: ZeroDivisionError: rtsp://door"
    assert watched.reader.state.problems == [f"test: {reason}"]
    assert watched.events[-1].reason == reason
    assert watched.reader.state.done
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1
    assert "in opener" in caplog.text
    assert "hush" not in caplog.text


def test_a_source_that_raises_once_is_opened_again() -> None:
    maker = Maker(1000)
    calls: list[SourceSpec] = []

    def opener(spec: SourceSpec, options: SourceOptions) -> Source:
        calls.append(spec)
        if len(calls) == 1:
            raise ZeroDivisionError
        return maker(spec, options)

    with watching(SPEC, live=QUICK, opener=opener) as watched:
        watched.until_state("live")
        maker.released.set()
    assert watched.states == ["connecting", "retrying", "live", "ended"]
    assert watched.reader.state.problems == []
