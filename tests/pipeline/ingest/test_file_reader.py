"""The thread that reads files."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.types import Frame, LazyFrame
from facestream.pipeline.ingest.file_reader import Reader, SourceState
from facestream.pipeline.ingest.isolation import SourceIsolation
from facestream.pipeline.metrics.families import FRAMES_IN, FRAMES_SKIPPED, SOURCE_ERRORS
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.runtime.source_queue import SourceQueue
from facestream.pipeline.sources import (
    Source,
    SourceOptions,
    SourceSpec,
    expand_sources,
    open_source,
)

from tests.media import make_clip


def test_frames_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=10 + n) for n in range(2)]
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()
    metrics = Metrics()
    reader = Reader(
        *(expand_sources(clips), queue, metrics),
        buffer_frames=100,
        options=lambda _: SourceOptions(every=4),
    )
    reader.run()
    for state, clip, frames in zip(reader.states, clips, (10, 11), strict=True):
        assert (state.expected, state.read, state.skipped) == (frames, 3, frames - 3)
        assert metrics.value(FRAMES_IN, source=str(clip)) == frames
        assert metrics.value(FRAMES_SKIPPED, source=str(clip)) == frames - 3
        assert state.done
        assert not state.finished
    queue.seal()
    assert [frame.index for frame in queue.get_batch(6, 0.0)] == [0, 0, 4, 4, 8, 8]


def reading(clips: list[Path]) -> tuple[SourceQueue[Frame | LazyFrame], threading.Thread]:
    """A reader of these files in a thread, and its queue."""
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()
    reader = Reader(
        *(expand_sources(clips), queue, Metrics()),
        buffer_frames=8,
        options=lambda _: SourceOptions(),
    )
    thread = threading.Thread(target=reader.run)
    thread.start()
    return queue, thread


def test_of_many_files_only_two_wait_in_memory(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=3) for n in range(6)]
    queue, thread = reading(clips)
    order: list[str] = []
    while len(order) < 18:
        order += [Path(frame.source).stem for frame in queue.get_batch(1, 0.0)]
        waiting = [buffer for buffer in queue.source_stats() if buffer.depth]
        assert len(waiting) <= 2
    thread.join()
    assert sorted(order) == sorted("012345" * 3)
    assert order[:3].count("5") == 0


def test_an_aborted_run_does_not_wait_for_the_frames_of_earlier_files(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=3) for n in range(4)]
    queue, thread = reading(clips)
    while queue.depth < 6:
        time.sleep(0.01)
    queue.close(discard=True)
    thread.join(10)
    assert not thread.is_alive()


def test_a_live_source_has_finished_when_the_rest_was_dropped() -> None:
    queue: SourceQueue[Any] = SourceQueue()
    buffer = queue.open("door", live=True)
    for number in range(5):
        buffer.put(number)
    state = SourceState("door", read=5, done=True, buffer=buffer)
    assert queue.get_batch(9, 0.0) == [4]
    state.processed = 1
    assert not state.finished  # more may still be put
    buffer.close()
    assert state.finished


def test_a_frame_that_a_stage_leaves_out_does_not_keep_its_source_from_finishing() -> None:
    queue: SourceQueue[Any] = SourceQueue()
    buffer = queue.open("door", live=False)
    buffer.put(1)
    buffer.put(2)
    buffer.close()
    state = SourceState("door", read=2, done=True, buffer=buffer)
    assert not state.finished  # they wait
    queue.get_batch(9, 0.0)
    state.processed = 1
    assert not state.finished
    state.lost = 1
    assert state.finished


def test_a_file_whose_reading_raises_does_not_keep_the_next_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=4) for n in range(2)]
    queue: SourceQueue[Frame | LazyFrame] = SourceQueue()
    metrics = Metrics()

    def opener(spec: SourceSpec, options: SourceOptions) -> Source:
        if spec.name == str(clips[0]):
            raise ZeroDivisionError("no rate")
        return open_source(spec, options)

    def read(isolation: SourceIsolation | None) -> Reader:
        reader = Reader(
            *(expand_sources(clips), queue, metrics),
            buffer_frames=100,
            options=lambda _: SourceOptions(),
            opener=opener,
            isolation=isolation,
        )
        reader.run()
        return reader

    with pytest.raises(ZeroDivisionError):
        read(None)
    with caplog.at_level("DEBUG"):
        reader = read(SourceIsolation(metrics, fatal=()))
    bad, good = reader.states
    assert bad.problems == [f"{clips[0]}: ZeroDivisionError: no rate"]
    assert (bad.done, good.done, good.read) == (True, True, 4)
    assert metrics.value(SOURCE_ERRORS, source=str(clips[0]), part="decode") == 1
    (warning,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert str(clips[0]) in warning.getMessage()
    assert any("Traceback" in r.getMessage() for r in caplog.records if r.levelname == "DEBUG")
