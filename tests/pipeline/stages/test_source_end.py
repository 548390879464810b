"""Sources end one by one, whatever their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.stages.recognise import RecogniseStage
from facestream.pipeline.stages.source_end import SourceEndsStage

from tests.pipeline.stages.worlds import frame


@dataclass
class Counted:
    """A source of one frame that counts how often it is asked whether it has finished."""

    name: str
    live: bool = False
    processed: int = 0
    asked: int = 0

    @property
    def finished(self) -> bool:
        self.asked += 1
        return self.processed > 0


class Recogniser:
    """As much of the stage as is used here."""

    name = "recognise"

    def __init__(self) -> None:
        self.ended: list[str] = []

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        return batch

    def tick(self) -> None:
        """Nothing passes."""

    def flush(self) -> None:
        """Nothing is left."""

    def end_source(self, source: str) -> None:
        self.ended.append(source)


def ends(sources: list[Counted]) -> tuple[SourceEndsStage, list[str], list[str]]:
    recogniser, told = Recogniser(), list[str]()
    stage = SourceEndsStage(
        cast("RecogniseStage", cast("Any", recogniser)), sources, on_ended=told.append
    )
    return stage, recogniser.ended, told


def test_a_source_ends_after_its_last_frame_and_once() -> None:
    stage, tracks, told = ends([Counted("a"), Counted("door", live=True), Counted("b")])
    stage([frame(0, source="a")])
    assert told == []  # its results are not out yet
    stage([frame(0, source="door")])
    assert told == tracks == ["a"]
    stage.tick()
    assert told == ["a", "door"]
    stage([frame(0, source="b")])
    stage.flush()
    stage.flush()
    assert told == tracks == ["a", "door", "b"]


def test_many_files_are_not_asked_again_and_again() -> None:
    sources = [Counted(str(n)) for n in range(300)]
    stage, _, told = ends(sources)
    for source in sources:
        stage([frame(0, source=source.name)])
    stage.flush()
    assert told == [source.name for source in sources]
    assert sum(source.asked for source in sources) < 3 * len(sources)
