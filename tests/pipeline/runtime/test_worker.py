"""The worker loop: order, flushing, closing, and errors with their stage's name."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
from facestream.pipeline.core.errors import Closed, StageFailed
from facestream.pipeline.core.types import (
    Frame,
    FrameResult,
    Image,
    LazyFrame,
)
from facestream.pipeline.metrics import (
    BATCH_FRAMES,
    FRAMES_DROPPED,
    STAGE_SECONDS,
    Metrics,
)
from facestream.pipeline.runtime.channel import Channel
from facestream.pipeline.runtime.source_queue import Inbox
from facestream.pipeline.runtime.worker import Batching, run_stage

from tests.pipeline.runtime.harness import (
    Planted,
    Probe,
    frame,
    key,
)
from tests.waiting import wait_until


def filled(count: int) -> Inbox[Frame]:
    inbox: Inbox[Frame] = Inbox()
    lane = inbox.open("s", live=False, capacity=100)
    inbox.seal()
    for index in range(count):
        lane.put(frame("s", index))
    lane.close()
    return inbox


def indices(outlet: Channel[FrameResult]) -> list[int]:
    got = []
    while True:
        try:
            got.append(key(outlet.get())[1])
        except Closed:
            return got


def test_frames_are_wrapped_and_pass_every_stage_in_order() -> None:
    outlet: Channel[FrameResult] = Channel(100, "out")
    stages = [Probe("a"), Probe("b")]
    metrics = Metrics()
    run_stage(stages, filled(10), outlet, batching=Batching(4), metrics=metrics)
    assert indices(outlet) == list(range(10))
    assert [stage.closed for stage in stages] == [1, 1]
    assert not outlet.aborted
    batches = metrics.histogram(BATCH_FRAMES, stage="b")
    seconds = metrics.histogram(STAGE_SECONDS, stage="a")
    assert batches is not None
    assert seconds is not None
    assert (batches.total, batches.largest, batches.count) == (10, 4, 3)
    assert seconds.count == 3


@pytest.mark.parametrize("holds", [(3, 0), (0, 3), (2, 5), (50, 50)])
def test_what_stages_hold_back_comes_in_order(holds: tuple[int, int]) -> None:
    outlet: Channel[FrameResult] = Channel(100, "out")
    stages = [Probe("a", hold=holds[0]), Probe("b", hold=holds[1])]
    run_stage(stages, filled(10), outlet, batching=Batching(3))
    assert indices(outlet) == list(range(10))


def test_end_of_the_line_needs_no_outlet() -> None:
    stage = Probe("a")
    run_stage([stage], filled(5), None)
    assert len(stage.seen) == 5


class Plain:
    """A stage without flush."""

    name = "plain"

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        return []

    def close(self) -> None:
        """Nothing to free."""


def test_stage_may_swallow_frames_and_have_no_flush() -> None:
    outlet: Channel[FrameResult] = Channel(1, "out")
    after = Probe("after")
    run_stage([Plain(), after], filled(5), outlet)
    assert indices(outlet) == []
    assert after.seen == []


@pytest.mark.parametrize("fail_at", [0, 3, -1, -2])
def test_error_names_the_stage(fail_at: int) -> None:
    outlet: Channel[FrameResult] = Channel(100, "out")
    inbox = filled(5)
    stages = [Probe("a"), Probe("b", fail_at=fail_at), Probe("c")]
    with pytest.raises(StageFailed, match="stage 'b' failed: Planted: b") as caught:
        run_stage(stages, inbox, outlet, batching=Batching(2))
    assert caught.value.stage == "b"
    assert isinstance(caught.value.__cause__, Planted)
    assert [stage.closed for stage in stages] == [1, 1, 1]
    assert inbox.aborted
    assert outlet.closed


class Reading(Plain):
    """A stage that meets a closed channel of its own."""

    name = "reading"

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        raise Closed("somebody else's channel")


def test_closed_inside_a_stage_is_no_end_of_stream() -> None:
    with pytest.raises(StageFailed, match="reading"):
        run_stage([Reading()], filled(1), None)


def test_nobody_reads_stops_the_producers() -> None:
    outlet: Channel[FrameResult] = Channel(100, "out")
    outlet.close()
    inbox = filled(50)
    stage = Probe("a", hold=1)
    run_stage([stage], inbox, outlet)
    assert inbox.aborted
    assert len(stage.seen) < 50
    assert stage.closed == 1


def test_abort_does_not_flush() -> None:
    outlet: Channel[FrameResult] = Channel(100, "out")
    inbox = filled(5)
    inbox.close(discard=True)
    stage = Probe("a", fail_at=-1)
    run_stage([stage], inbox, outlet)
    assert stage.closed == 1
    assert outlet.aborted


class Passing(Plain):
    """Hands on what it gets."""

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        return batch


class Clock(Plain):
    """Counts how often it was told that time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0
        self.ticked = threading.Event()

    def tick(self) -> None:
        self.ticks += 1
        self.ticked.set()


def test_time_passes_also_without_frames() -> None:
    inbox: Inbox[Frame] = Inbox()
    inbox.open("silent", live=True)
    stage = Clock()
    worker = threading.Thread(target=run_stage, args=([stage], inbox, None))
    worker.start()
    try:
        assert stage.ticked.wait(30)
    finally:
        inbox.close()
        worker.join(30)
    assert not worker.is_alive()


def test_a_batch_is_taken_only_when_the_next_link_has_room_for_it() -> None:
    inbox: Inbox[Frame] = Inbox()
    lane = inbox.open("camera", live=True)
    outlet: Channel[FrameResult] = Channel(1, "out")
    worker = threading.Thread(target=run_stage, args=([Passing()], inbox, outlet))
    worker.start()
    try:
        lane.put(frame("camera", 0))
        wait_until(lambda: outlet.depth == 1)
        for index in range(1, 6):
            lane.put(frame("camera", index))
        first, second = key(outlet.get(timeout=30)), key(outlet.get(timeout=30))
    finally:
        inbox.close(discard=True)
        outlet.close(discard=True)
        worker.join(30)
    # While nobody took the first result the worker held no other frame: the newest came next.
    assert (first[1], second[1]) == (0, 5)
    assert lane.stats().dropped == {"superseded": 4}


def test_frames_are_developed_when_they_are_taken() -> None:
    made: list[int] = []

    def picture(index: int) -> Image | None:
        made.append(index)
        return None if index == 1 else np.zeros((2, 2, 3), np.uint8)

    inbox: Inbox[Frame | LazyFrame] = Inbox()
    lane = inbox.open("camera", live=True)
    inbox.seal()
    outlet: Channel[FrameResult] = Channel(9, "out")
    metrics = Metrics()
    for index in range(3):  # the first is superseded: nobody made its picture
        lane.put(LazyFrame("camera", index, 0.0, 0.0, 0.0, partial(picture, index)))
    lane.close()
    run_stage([Passing()], inbox, outlet, metrics=metrics)
    assert made == [2]
    assert indices(outlet) == [2]

    again: Inbox[Frame | LazyFrame] = Inbox()
    lane = again.open("camera", live=False, capacity=3)
    again.seal()
    for index in (1, 2):
        lane.put(LazyFrame("camera", index, 0.0, 0.0, 0.0, partial(picture, index)))
    lane.close()
    outlet = Channel(9, "out")
    run_stage([Passing()], again, outlet, metrics=metrics)
    assert indices(outlet) == [2]
    assert metrics.value(FRAMES_DROPPED, source="camera", cause="corrupt") == 1
