"""What a decoder is started for."""

from __future__ import annotations

from dataclasses import dataclass

from ..base import SourceOptions, SourceSpec


@dataclass(frozen=True, slots=True)
class DecoderRequest:
    """Of one source, and of nothing else.

    Attributes:
        options: without what cannot cross: ``halt``, ``on_decoder``.
        memory: megabytes that it may use; None: no limit.
        readable: the files that it reads; None: any.
        device: the camera that it reads.
        level: of the messages that its parent logs.
    """

    spec: SourceSpec
    options: SourceOptions
    memory: int | None
    readable: tuple[str, ...] | None
    device: str | None
    level: int
