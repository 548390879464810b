"""What a source is: frames in order, from a file, pictures, a camera or a URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from ..core.types import Frame
from .decode import Picture
from .hardware import BY_CPU, Decoding, OnDecoder

Kind = Literal["video", "images", "camera", "url", "stdin"]
Clock = Literal["container", "opened", "arrival"]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What to open; made by ``expand_sources``.

    Attributes:
        kind: which reader serves it.
        location: path, device or URL; a URL may hold credentials, so it is never shown.
        name: how everybody calls it, free of credentials.
        files: the pictures of an ``images`` source, in order.
    """

    kind: Kind
    location: str
    name: str
    files: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"SourceSpec({self.kind}, {self.name!r})"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How sources are read.

    Attributes:
        max_frames: end after so many frames; None reads to the end.
        open_timeout: seconds until opening a URL or camera fails.
        read_timeout: seconds without data until reading a URL or camera fails.
        rtsp_transport: how RTSP streams travel.
        decode_threads: threads that decode a file. Two keep 1080p ahead of the detector on two
            cores; 0 takes every core.
        every: of a video's frames only those whose index is a multiple of this are delivered.
            All are decoded; the others are never converted.
        decoding: who decodes video; see ``decide``.
        on_decoder: told the source's name, who decodes it, and why the CPU took over if it did;
            when it is opened and at each change, in the reading thread.
        halt: when it is set, opening (where the source can be asked to) and reading end soon.
    """

    max_frames: int | None = None
    open_timeout: float = 10.0
    read_timeout: float = 10.0
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    decode_threads: int = 2
    every: int = 1
    decoding: Decoding = BY_CPU
    on_decoder: OnDecoder | None = field(default=None, compare=False)
    halt: threading.Event | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, not {self.max_frames}")


DEFAULTS = SourceOptions()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source when it is opened.

    Attributes:
        width: pixels of its frames as they are delivered (rotated, square pixels), where known.
        height: likewise.
        fps: average frames a second, None for pictures or where unknown.
        frames: how many it should have, where its container says so.
        duration: seconds, where its container says so.
        clock: where ``Frame.utc`` comes from: the container's creation time, or the moment the
            source was opened, ``pts`` added to either; of a live source it is the moment of the
            frame's arrival.
        codec: short name, e.g. ``h264``.
    """

    width: int | None
    height: int | None
    fps: float | None
    frames: int | None
    duration: float | None
    clock: Clock
    codec: str = ""

    @property
    def period(self) -> float | None:
        """Seconds between two frames on average, where known."""
        return 1 / self.fps if self.fps else None


class Source(Protocol):
    """An open source: a context manager and an iterator of frames, iterated once.

    One thread iterates; ``stop`` may be called from any thread and from a signal handler.
    """

    @property
    def name(self) -> str:
        """Free of credentials."""
        ...

    @property
    def live(self) -> bool:
        """Frames come when they come: who is late must drop."""
        ...

    @property
    def info(self) -> SourceInfo: ...

    @property
    def decoded(self) -> int:
        """Good frames so far, those that were passed over included."""
        ...

    @property
    def skipped(self) -> int:
        """Frames passed over so far, because of ``SourceOptions.every``."""
        ...

    @property
    def bursts(self) -> bool:
        """Live, but its frames come many at once (HLS)."""
        ...

    @property
    def whole(self) -> bool:
        """It announced its length, and was read to it. Cameras announce none."""
        ...

    @property
    def corrupt(self) -> int:
        """Damaged packets, frames or pictures so far; what could not be decoded was skipped."""
        ...

    @property
    def problems(self) -> list[str]:
        """What was wrong with it so far, a line each; complete once the iteration has ended."""
        ...

    def pictures(self) -> Iterator[Picture]:
        """Every decoded frame, not converted yet and without our clock: for live sources.

        Raises:
            SourceError: it broke off.
        """
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in order.

        Raises:
            SourceError: it broke off, or not one frame could be decoded.
        """
        ...

    def stop(self) -> None:
        """End the iteration after the frame that is being decoded."""
        ...

    def close(self) -> None:
        """Free it. May be repeated; not while another thread iterates."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
