"""The worker loop: order, flushing, closing, and errors with their stage's name."""

from __future__ import annotations

import threading

import pytest
from facestream.pipeline.core.errors import Closed, StageFailed
from facestream.pipeline.metrics.families import BATCH_FRAMES, STAGE_SECONDS
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.channel import Channel
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.runtime.worker import Batching, run_worker

from tests.pipeline.runtime.harness import Item, Planted, Probe
from tests.waiting import wait_until


def filled(count: int) -> SourceQueue[Item]:
    queue: SourceQueue[Item] = SourceQueue()
    buffer = queue.open("s", live=False, capacity=100)
    queue.seal()
    for index in range(count):
        buffer.put(Item("s", index))
    buffer.close()
    return queue


def indices(outlet: Channel[Item]) -> list[int]:
    got = []
    while True:
        try:
            got.append(outlet.get().number)
        except Closed:
            return got


def test_items_pass_every_stage_in_order() -> None:
    outlet: Channel[Item] = Channel(100, "out")
    stages = [Probe("a"), Probe("b")]
    metrics = Metrics()
    run_worker(stages, filled(10), outlet, batching=Batching(4), on_batch=metrics.observe_batch)
    assert indices(outlet) == list(range(10))
    assert [stage.closed for stage in stages] == [1, 1]
    assert not outlet.aborted
    batches = metrics.distribution(BATCH_FRAMES, stage="b")
    seconds = metrics.distribution(STAGE_SECONDS, stage="a")
    assert batches is not None
    assert seconds is not None
    assert (batches.total, batches.largest, batches.count) == (10, 4, 3)
    assert seconds.count == 3


@pytest.mark.parametrize("holds", [(3, 0), (0, 3), (2, 5), (50, 50)])
def test_what_stages_hold_back_comes_in_order(holds: tuple[int, int]) -> None:
    outlet: Channel[Item] = Channel(100, "out")
    stages = [Probe("a", hold=holds[0]), Probe("b", hold=holds[1])]
    run_worker(stages, filled(10), outlet, batching=Batching(3))
    assert indices(outlet) == list(range(10))


def test_end_of_the_line_needs_no_outlet() -> None:
    stage = Probe("a")
    run_worker([stage], filled(5), None)
    assert len(stage.seen) == 5


class Plain:
    """A stage without flush."""

    name = "plain"

    def __call__(self, batch: list[Item]) -> list[Item]:
        return []

    def close(self) -> None:
        """Nothing to free."""


def test_stage_may_swallow_frames_and_have_no_flush() -> None:
    outlet: Channel[Item] = Channel(1, "out")
    after = Probe("after")
    run_worker([Plain(), after], filled(5), outlet)
    assert indices(outlet) == []
    assert after.seen == []


@pytest.mark.parametrize("fail_at", [0, 3, -1, -2])
def test_error_names_the_stage(fail_at: int) -> None:
    outlet: Channel[Item] = Channel(100, "out")
    queue = filled(5)
    stages = [Probe("a"), Probe("b", fail_at=fail_at), Probe("c")]
    with pytest.raises(StageFailed, match="stage 'b' failed: Planted: b") as caught:
        run_worker(stages, queue, outlet, batching=Batching(2))
    assert caught.value.stage == "b"
    assert isinstance(caught.value.__cause__, Planted)
    assert [stage.closed for stage in stages] == [1, 1, 1]
    assert queue.aborted
    assert outlet.closed


class Reading(Plain):
    """A stage that meets a closed channel of its own."""

    name = "reading"

    def __call__(self, batch: list[Item]) -> list[Item]:
        raise Closed("somebody else's channel")


def test_closed_inside_a_stage_is_no_end_of_stream() -> None:
    with pytest.raises(StageFailed, match="reading"):
        run_worker([Reading()], filled(1), None)


def test_nobody_reads_stops_the_producers() -> None:
    outlet: Channel[Item] = Channel(100, "out")
    outlet.close()
    queue = filled(50)
    stage = Probe("a", hold=1)
    run_worker([stage], queue, outlet)
    assert queue.aborted
    assert len(stage.seen) < 50
    assert stage.closed == 1


def test_abort_does_not_flush() -> None:
    outlet: Channel[Item] = Channel(100, "out")
    queue = filled(5)
    queue.close(discard=True)
    stage = Probe("a", fail_at=-1)
    run_worker([stage], queue, outlet)
    assert stage.closed == 1
    assert outlet.aborted


class Passing(Plain):
    """Hands on what it gets."""

    def __call__(self, batch: list[Item]) -> list[Item]:
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
    queue: SourceQueue[Item] = SourceQueue()
    queue.open("silent", live=True)
    stage = Clock()
    worker = threading.Thread(target=run_worker, args=([stage], queue, None))
    worker.start()
    try:
        assert stage.ticked.wait(30)
    finally:
        queue.close()
        worker.join(30)
    assert not worker.is_alive()


def test_a_batch_is_taken_only_when_the_next_link_has_room_for_it() -> None:
    queue: SourceQueue[Item] = SourceQueue()
    buffer = queue.open("camera", live=True)
    outlet: Channel[Item] = Channel(1, "out")
    worker = threading.Thread(target=run_worker, args=([Passing()], queue, outlet))
    worker.start()
    try:
        buffer.put(Item("camera", 0))
        wait_until(lambda: outlet.depth == 1)
        for index in range(1, 6):
            buffer.put(Item("camera", index))
        first, second = outlet.get(timeout=30), outlet.get(timeout=30)
    finally:
        queue.close(discard=True)
        outlet.close(discard=True)
        worker.join(30)
    # While nobody took the first result the worker held no other frame: the newest came next.
    assert (first.number, second.number) == (0, 5)
    assert buffer.stats().dropped == {"superseded": 4}


def test_items_are_converted_when_they_are_taken() -> None:
    made: list[int] = []

    def convert(item: Item) -> Item | None:
        made.append(item.number)
        return None if item.number == 1 else item

    queue: SourceQueue[Item] = SourceQueue()
    camera = queue.open("camera", live=True)
    file = queue.open("file", live=False, capacity=3)
    queue.seal()
    for index in range(4):
        camera.put(Item("camera", index))  # all but the last one are superseded
    for index in range(3):
        file.put(Item("file", index))
    camera.close()
    file.close()
    outlet: Channel[Item] = Channel(9, "out")
    run_worker([Passing()], queue, outlet, convert=convert)
    assert made == [3, 0, 1, 2]
    assert indices(outlet) == [3, 0, 2]  # without the one that cannot be converted
