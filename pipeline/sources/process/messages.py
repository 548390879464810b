"""What a decoder may say; anything else ends its source."""

from __future__ import annotations

from math import inf, nan
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from ...core.errors import Retry
from ..base import Clock, SourceInfo
from ..hardware import DecodedBy, FallbackReason
from .ring import PixelFormat


def _line(text: str) -> str:
    """Without what moves a terminal's cursor."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


Count = Annotated[int, Field(ge=0, le=1 << 53)]
Side = Annotated[int, Field(ge=1, le=1 << 16)]
Seconds = Annotated[float, Field(ge=-1e12, le=1e12)]
Line = Annotated[str, Field(max_length=2000), AfterValidator(_line)]
Code = Annotated[int, Field(ge=0, le=255)]
"""FFmpeg's number of a matrix or range."""


class _Message(BaseModel):
    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )


class Opened(_Message):
    """It is open; ``SourceInfo`` in parts."""

    kind: Literal["opened"]
    live: bool
    bursts: bool
    width: Side | None
    height: Side | None
    fps: Annotated[float, Field(gt=0, le=1e6)] | None
    frames: Count | None
    duration: Annotated[float, Field(ge=0, le=1e12)] | None
    clock: Clock
    codec: Annotated[Line, Field(max_length=40)]

    def info(self) -> SourceInfo:
        return SourceInfo(
            self.width, self.height, self.fps, self.frames, self.duration, self.clock, self.codec
        )


class Totals(_Message):
    """Counts so far, see `Source`."""

    decoded: Count
    skipped: Count
    corrupt: Count


class Pixels(_Message):
    """A picture in a slot of the newest ring."""

    ring: Count
    slot: Annotated[int, Field(ge=0, le=63)]
    format: PixelFormat
    width: Side
    height: Side
    matrix: Code = 2
    range: Code = 0
    ratio: Annotated[float, Field(gt=0, lt=inf)] = 1.0


class FrameMessage(_Message):
    """A frame of a file."""

    kind: Literal["frame"]
    totals: Totals
    pixels: Pixels
    index: Count
    pts: Seconds
    utc: Seconds | None
    still: bool
    file: Annotated[str, Field(max_length=5000)] | None

    @property
    def taken(self) -> float:
        return nan if self.utc is None else self.utc


class PictureMessage(_Message):
    """A picture of a live source; without pixels where it cannot be made."""

    kind: Literal["picture"]
    totals: Totals
    pixels: Pixels | None
    time: Seconds | None


class RoomMessage(_Message):
    """The next picture needs larger slots."""

    kind: Literal["room"]
    bytes: Annotated[int, Field(ge=1, le=1 << 40)]


class DecoderMessage(_Message):
    """What decodes now, see `OnDecoder`."""

    kind: Literal["decoder"]
    by: DecodedBy
    fallback: FallbackReason | None


class LogMessage(_Message):
    kind: Literal["log"]
    level: Annotated[int, Field(ge=0, le=50)]
    text: Line


class AliveMessage(_Message):
    """It works, or waits for data as it should."""

    kind: Literal["alive"]
    totals: Totals


class EndMessage(_Message):
    """The source was read to its end, or to the error.

    Attributes:
        error: what ended it; None: its end, or a stop.
        cause: ``source``: a `SourceError`; ``memory``: it needs more than it may use; ``other``: a
            mistake of ours.
    """

    kind: Literal["end"]
    totals: Totals
    whole: bool
    problems: Annotated[tuple[Line, ...], Field(max_length=200, strict=False)]
    error: Line | None = None
    reason: Line = ""
    retry: Retry = "soon"
    cause: Literal["source", "memory", "other"] = "source"


Message = (
    Opened
    | FrameMessage
    | PictureMessage
    | RoomMessage
    | DecoderMessage
    | LogMessage
    | AliveMessage
    | EndMessage
)
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse(content: bytes) -> Message:
    """Raises ValueError (pydantic's) for what is no message."""
    return _MESSAGES.validate_json(content)
