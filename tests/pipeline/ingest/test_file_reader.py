"""The thread that reads files."""

from __future__ import annotations

from pathlib import Path

from facestream.pipeline.core.types import Frame, LazyFrame
from facestream.pipeline.ingest.file_reader import Reader, SourceState
from facestream.pipeline.metrics import FRAMES_IN, FRAMES_SKIPPED, Metrics
from facestream.pipeline.runtime.source_queue import Inbox
from facestream.pipeline.sources import SourceOptions, expand_sources

from tests.media import make_clip


def test_frames_that_are_passed_over_are_counted(tmp_path: Path) -> None:
    clips = [make_clip(tmp_path / f"{n}.mp4", frames=10 + n) for n in range(2)]
    inbox: Inbox[Frame | LazyFrame] = Inbox()
    metrics = Metrics()
    reader = Reader(
        *(expand_sources(clips), inbox, metrics),
        lane_frames=100,
        options=SourceOptions(every=4),
    )
    reader.run()
    for state, clip, frames in zip(reader.states, clips, (10, 11), strict=True):
        assert (state.expected, state.read, state.skipped) == (frames, 3, frames - 3)
        assert metrics.value(FRAMES_IN, source=str(clip)) == frames
        assert metrics.value(FRAMES_SKIPPED, source=str(clip)) == frames - 3
        assert state.done
        assert not state.finished
    inbox.seal()
    assert [frame.index for frame in inbox.get_batch(6, 0.0)] == [0, 0, 4, 4, 8, 8]


def test_a_live_source_has_finished_when_the_rest_was_dropped() -> None:
    inbox: Inbox[int] = Inbox()
    lane = inbox.open("door", live=True)
    for number in range(5):
        lane.put(number)
    state = SourceState("door", read=5, processed=1, lane=lane)  # type: ignore[arg-type]
    assert not state.finished
    state.done = True
    assert state.finished
