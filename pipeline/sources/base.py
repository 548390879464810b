"""The interface of sources, how they are specified and read, and a base class for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from facestream.engines.closing import Closing

from ..core.filenames import readable
from ..core.networks import AddressRules
from ..core.types import Frame, Image
from .hardware import BY_CPU, Decoding, OnDecoder
from .tls import VERIFIED, Tls

Kind = Literal["video", "images", "camera", "url", "stdin"]
Clock = Literal["container", "opened", "arrival"]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What to open; made by ``expand_sources``.

    Attributes:
        kind: which reader opens it.
        location: path, device or URL; a URL may hold credentials, so it is never shown.
        name: display name, free of credentials. It is also the identity of the source within a
            run: see ``distinct_sources``. Bytes of a path that are not UTF-8 are replaced in it.
        files: the pictures of an ``images`` source, in order.
        recorded: the URL of a file: it is read like a file.
        track: number of its video track, from 0; None: `SourceOptions.track`.
    """

    kind: Kind
    location: str
    name: str
    files: tuple[Path, ...] = ()
    recorded: bool = False
    track: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", readable(self.name))  # events are UTF-8

    @property
    def live(self) -> bool:
        """It may block for long, or be lost and return: it gets a thread of its own."""
        return self.kind in {"camera", "url", "stdin"} and not self.recorded

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
        tls: how certificates of servers are checked.
        snapshot_every: seconds between two requests of a URL that is one picture.
        decode_threads: threads that decode a file, 0 for all cores. Two decode 1080p faster than
            the detector takes it on two cores.
        every: only frames whose index is a multiple of this are delivered. The others are decoded
            but not converted.
        track: number of the video track, from 0; None: the one that its file marks, or the largest.
        follow: read files that grow until they have not changed for so many seconds; None: a file
            that a program has open for writing is read until it is closed.
        shrink_above: pixels; larger pictures are shrunk when they are converted. None: never.
        refuse_above: pixels; a video with larger ones is refused. None: never.
        decoding: what decodes video; see ``decide``.
        on_decoder: called in the reading thread at the first frame and at each change.
        networks: addresses that URLs may lead to, see `AddressRules`; None: any.
        halt: once set, opening (where possible) and reading end soon.
    """

    max_frames: int | None = None
    open_timeout: float = 10.0
    read_timeout: float = 10.0
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    tls: Tls = VERIFIED
    snapshot_every: float = 1.0
    decode_threads: int = 2
    every: int = 1
    track: int | None = None
    follow: float | None = None
    shrink_above: int | None = None
    refuse_above: int | None = None
    decoding: Decoding = BY_CPU
    networks: AddressRules | None = None
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
        width, height: pixels of its frames as delivered (rotated, square pixels), where known.
        fps: average frames a second, None for pictures or where unknown.
        frames: how many it should have, where its container says so.
        duration: seconds, where its container says so.
        clock: ``Frame.utc`` is ``pts`` after the container's creation time or after the moment of
            opening; of a live source it is the time of arrival.
        codec: short name, e.g. ``h264``.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    frames: int | None = None
    duration: float | None = None
    clock: Clock = "opened"
    codec: str = ""

    @property
    def period(self) -> float | None:
        """Seconds between two frames on average, where known."""
        return 1 / self.fps if self.fps else None


class Picture(Protocol):
    """A frame of a live source before it is numbered; its image is made only on demand."""

    @property
    def time(self) -> float | None:
        """Seconds on the stream's own clock, None where it has none."""
        ...

    def image(self) -> Image | None:
        """H×W×3 BGR uint8; None where it cannot be made."""
        ...

    def sample(self) -> bytes:
        """Brightness of every eighth pixel of every eighth line; equal for equal pictures."""
        ...


class Source(Protocol):
    """An open source: a context manager and an iterator of frames, iterated once.

    One thread iterates; ``stop`` may be called from any thread and from a signal handler. A live
    source is read through ``pictures``, any other is iterated.

    Attributes:
        name: free of credentials.
        live: frames arrive at their own pace; those that arrive too fast are dropped.
        decoded: good frames so far, skipped ones included.
        skipped: frames skipped because of ``SourceOptions.every``.
        bursts: live, but many frames arrive at once (HLS).
        whole: it announced its length and was read to it; cameras announce none.
        corrupt: damaged packets, frames or pictures so far, which were skipped.
        problems: what was wrong so far, a line each; complete once the iteration has ended.
    """

    name: str
    live: bool
    info: SourceInfo
    decoded: int
    skipped: int
    bursts: bool
    whole: bool

    @property
    def corrupt(self) -> int: ...

    @property
    def problems(self) -> list[str]: ...

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


SourceOpener = Callable[[SourceSpec, SourceOptions], Source]


@dataclass(frozen=True, slots=True)
class ImagePicture:
    """A `Picture` whose image is there already."""

    time: float | None
    pixels: Image

    def image(self) -> Image:
        return self.pixels

    def sample(self) -> bytes:
        return self.pixels[::8, ::8, 1].tobytes()  # green stands for brightness


class BaseSource(Closing):
    """A `Source` for subclasses that give their images in `images`.

    Attributes:
        live: set it in the subclass.
        still: its frames are photos, each on its own.
        corrupt: the subclass counts here what it cannot read.
        problems: the subclass adds a line for what is wrong.
    """

    live = False
    still = False
    bursts = False
    whole = False

    def __init__(
        self, spec: SourceSpec, options: SourceOptions = DEFAULTS, info: SourceInfo | None = None
    ) -> None:
        self.name = spec.name
        self.info = info or SourceInfo()
        self.decoded = 0
        self.skipped = 0
        self.corrupt = 0
        self.problems: list[str] = []
        self.options = options
        self._opened_at = time.time()
        self._stopped = False
        self._started = False

    def images(self) -> Iterator[tuple[float | None, Image]]:
        """Seconds since the start (None: by the frame rate), and H×W×3 BGR uint8.

        Raises:
            SourceError: it broke off.
        """
        raise NotImplementedError

    def pictures(self) -> Iterator[Picture]:
        self._begin()
        for pts, image in self.images():
            if self.stopped:
                return
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"an image must be H×W×3 uint8, not {image.shape} {image.dtype}")
            self.decoded += 1
            yield ImagePicture(pts, image)

    def __iter__(self) -> Iterator[Frame]:
        self._begin()
        return self._frames()

    @property
    def stopped(self) -> bool:
        halt = self.options.halt
        return self._stopped or (halt is not None and halt.is_set())

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """A subclass frees here what it holds."""
        self._stopped = True

    def _begin(self) -> None:
        if self._started:
            raise RuntimeError(f"source {self.name} was iterated already; open it again")
        self._started = True

    def _frames(self) -> Iterator[Frame]:
        images, period = self.images(), self.info.period or 0.04
        while not self.stopped and self.decoded != self.options.max_frames:
            found = next(images, None)
            if found is None:
                return
            index, self.decoded = self.decoded, self.decoded + 1
            if index % self.options.every:
                self.skipped += 1
                continue
            pts = index * period if found[0] is None else found[0]
            utc = time.time() if self.live else self._opened_at + pts
            yield Frame(self.name, index, pts, utc, time.monotonic(), found[1], self.still)
