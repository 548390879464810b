"""Back-off, frozen pictures, the watchdog and the status, each by itself and without waiting."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from math import inf

import numpy as np
import pytest
from facestream.pipeline.core.events import SourceStateEvent
from facestream.pipeline.ingest.connection import SessionProgress, Watchdog
from facestream.pipeline.ingest.delivery import FrozenDetector
from facestream.pipeline.ingest.file_reader import SourceState
from facestream.pipeline.ingest.live_reader import Backoff
from facestream.pipeline.ingest.status import Status
from facestream.pipeline.metrics.families import SOURCE_RESTARTS, SOURCE_STATE
from facestream.pipeline.metrics.store import Metrics
from hypothesis import given
from hypothesis import strategies as st

DOG = Watchdog(open_within=20, stall_after=3, lost_after=10, frozen_after=30)


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1, 30, jitter=random.Random(1))
    full = [1, 2, 4, 8, 16, 30, 30, 30]
    for pause, most in zip((backoff.pause() for _ in full), full, strict=True):
        assert most / 2 <= pause <= most
    backoff.reset()
    assert backoff.pause() <= 1


def test_a_refused_login_waits_long_at_once() -> None:
    assert Backoff(1, 30).pause("slowly") >= 15


@given(st.floats(1e-3, 100), st.floats(1e-3, 100), st.integers(0, 5000))
def test_a_pause_is_never_out_of_bounds(first: float, longest: float, failures: int) -> None:
    backoff = Backoff(first, longest)
    backoff.failures = failures
    assert min(first, longest) / 2 <= backoff.pause() <= max(first, longest)


def test_cameras_do_not_come_back_in_step() -> None:
    assert len({Backoff(1, 30).pause() for _ in range(20)}) == 20


def fed(detector: FrozenDetector, pictures: Iterable[bytes], *, start: float = 0.0) -> list[bool]:
    """The detector's answer to each picture, 25 a second."""
    return [detector.update(lambda p=p: p, start + n / 25) for n, p in enumerate(pictures)]  # type: ignore[misc]


def test_the_same_picture_for_long_is_frozen() -> None:
    detector = FrozenDetector(30)
    said = fed(detector, [b"same"] * 1000)
    assert 30 <= said.index(True) / 25 < 31
    assert all(said[said.index(True) :])
    assert not any(fed(detector, [b"\0ther"] * 740, start=40))  # moves, then is still for less
    assert fed(detector, [b"\0ther"] * 50, start=40 + 740 / 25)[-1]


def test_what_coding_does_to_a_still_picture_is_no_change() -> None:
    pictures = [bytes([100 + (n % 10) // 2, 50]) for n in range(1000)]  # a key frame each 10
    assert fed(FrozenDetector(30), pictures)[-1]


def test_the_noise_of_a_quiet_room_is_a_sign_of_life() -> None:
    rng = np.random.default_rng(1)
    pictures = [(100 + rng.integers(0, 5, 500)).astype(np.uint8).tobytes() for _ in range(1000)]
    assert not any(fed(FrozenDetector(30), pictures))


def test_a_moving_picture_is_compared_twice_a_second() -> None:
    sampled = []

    def sample() -> bytes:
        sampled.append(1)
        return bytes([len(sampled) * 20 % 256])

    detector = FrozenDetector(30)
    assert not any(detector.update(sample, frame / 25) for frame in range(250))
    assert len(sampled) <= 42  # two neighbours each time


def test_the_watchdog_while_it_opens() -> None:
    assert DOG.check(SessionProgress(started=100), 119).state == "opening"
    verdict = DOG.check(SessionProgress(started=100), 121)
    assert (verdict.state, verdict.reason) == ("lost", "no picture within 20 s")


@pytest.mark.parametrize(
    ("idle", "state"), [(0, "live"), (2.9, "live"), (3, "stalled"), (10, "stalled"), (11, "lost")]
)
def test_the_watchdog_by_the_last_frame(idle: float, state: str) -> None:
    assert DOG.check(SessionProgress(0, last_frame=50), 50 + idle).state == state


@pytest.mark.parametrize(("idle", "state"), [(7, "live"), (8, "stalled"), (16, "lost")])
def test_a_slow_source_may_be_silent_for_its_interval_too(idle: float, state: str) -> None:
    progress = SessionProgress(0, last_frame=50, interval=5)
    assert DOG.check(progress, 50 + idle).state == state


def test_the_watchdog_has_patience_with_our_own_side() -> None:
    assert DOG.check(SessionProgress(0, last_frame=50, busy=True), 500).state == "live"


def test_one_frame_after_a_silence_is_no_recovery() -> None:
    assert DOG.check(SessionProgress(0, last_frame=50, first_burst=True), 50).state == "stalled"


def test_a_frozen_picture_is_stalled_not_lost() -> None:
    verdict = DOG.check(SessionProgress(0, last_frame=50, frozen=True), 50.04)
    assert (verdict.state, verdict.reason) == ("stalled", "the picture has not changed for 30 s")


@given(st.floats(0, 100), st.booleans(), st.booleans())
def test_the_watchdog_looks_again_before_the_next_limit(
    idle: float, busy: bool, frozen: bool
) -> None:
    progress = SessionProgress(0, last_frame=0, busy=busy, frozen=frozen)
    verdict = DOG.check(progress, idle)
    if verdict.state != "lost":
        assert 0 < verdict.recheck <= 60
        before = DOG.check(progress, idle + verdict.recheck * 0.999)
        assert before.state == verdict.state


def test_a_pipe_may_be_silent_for_ever() -> None:
    dog = Watchdog(open_within=inf, stall_after=3, lost_after=inf, frozen_after=30)
    assert dog.check(SessionProgress(0), 1e9).state == "opening"
    assert dog.check(SessionProgress(0, last_frame=0), 1e9).state == "stalled"


class Observed:
    """A status whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[SourceStateEvent] = []
        self.metrics = Metrics()
        self.state = SourceState("door")
        self.status = Status(self.state, self.metrics, self.events.append, now=lambda: self.now)


def test_each_change_is_one_event() -> None:
    observed = Observed()
    observed.status.other("connecting")
    observed.status.live()
    observed.status.live()
    observed.status.stalled("no frame for 3 s")
    observed.status.stalled("no frame for 3 s")
    observed.status.live()
    assert [(e.previous, e.state) for e in observed.events] == [
        (None, "connecting"),
        ("connecting", "live"),
        ("live", "stalled"),
        ("stalled", "live"),
    ]
    assert observed.metrics.value(SOURCE_STATE, source="door", state="live") == 1
    assert observed.metrics.value(SOURCE_STATE, source="door", state="stalled") == 0


def test_a_source_that_stays_away_is_one_warning_and_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    observed = Observed()
    for _ in range(200):
        observed.status.retrying("connection refused", 20)
        observed.now += 20
    assert [(e.state, e.retry_in) for e in observed.events] == [("retrying", 20)]
    assert len(caplog.messages) == 1 + 4000 // 600
    assert caplog.messages[1] == "door: still away after 600 s and 31 tries: connection refused"
    observed.status.live(reopened=True)
    assert observed.events[-1].restarts == 1
    assert observed.metrics.value(SOURCE_RESTARTS, source="door") == 1


def test_another_reason_is_an_event_but_not_without_end() -> None:
    observed = Observed()
    observed.status.retrying("connection refused", 1)
    observed.status.retrying("user or password refused", 30)
    observed.status.retrying("connection refused", 30)
    assert [e.reason for e in observed.events] == ["connection refused", "user or password refused"]
    for number in range(100):
        observed.status.retrying(f"strange {number}", 30)
    assert len(observed.events) == 5
