"""A source that is decoded in a process of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from facestream.engines.closing import Closing

from ...core.errors import SourceError
from ...core.types import Frame, Image
from ..base import ImagePicture, Picture, SourceOptions, SourceSpec
from ..convert import Converter
from ..stream import StopRequest
from . import messages
from .link import DecoderLimits, DecoderLink, OnLost
from .pictures import NoPicture, SlotPicture
from .request import DecoderRequest
from .ring import Ring

log = logging.getLogger(__name__)

_SLOTS = 8  # a live frame waits, a few are converted, one is decoded
_SPARE = 2  # with fewer slots left pictures are copied: who keeps them does not stop the decoder


class DecoderFailed(Exception):
    """An unexpected error in a decoder's process; the message is the error's own."""


class ProcessSource(Closing):
    """Opens a source in a new process; see `Source`.

    Args:
        on_lost: called before `DecoderLost` is raised.

    Raises:
        SourceError: as when it is opened here.
        DecoderLost: its process crashed, hangs, or needs too much memory.
        DecoderFailed: an unexpected error.
    """

    whole = False

    def __init__(
        self,
        spec: SourceSpec,
        options: SourceOptions,
        limits: DecoderLimits,
        on_lost: OnLost = lambda *_: None,
    ) -> None:
        self.name = spec.name
        self.decoded = self.skipped = self.corrupt = 0
        self.problems: list[str] = []
        self._options = options
        self._memory = limits.memory << 20
        # No reference to this source: a cycle would keep its frames until they are collected.
        self._ends = StopRequest(options.halt)
        self._started = False
        self._ring: Ring | None = None
        self._rings = 0
        self._converter: Converter | None = None
        silence = limits.silence
        if spec.kind in {"url", "camera"}:  # FFmpeg's time-outs act first
            silence = max(silence, 2 * options.open_timeout, options.read_timeout)
        request = _request(spec, options, limits)
        self._link = DecoderLink(request, silence=silence, ends=self._ends, on_lost=on_lost)
        try:
            opened = self._next()
            if opened is None:
                raise SourceError(f"{self.name}: reading was stopped")
            if not isinstance(opened, messages.Opened):
                raise self._link.nonsense()
        except BaseException:
            self.close()
            raise
        self.live, self.bursts, self.info = opened.live, opened.bursts, opened.info()

    @property
    def process_id(self) -> int | None:
        return self._link.process_id

    def pictures(self) -> Iterator[Picture]:
        self._begin("pictures")
        return self._pictures()

    def __iter__(self) -> Iterator[Frame]:
        self._begin("frames")
        return self._frames()

    def _pictures(self) -> Iterator[Picture]:
        while (message := self._next()) is not None:
            if not isinstance(message, messages.PictureMessage):
                raise self._link.nonsense()
            self._count(message.totals)
            yield self._picture(message)

    def stop(self) -> None:
        self._ends.requested = True

    def close(self) -> None:
        self._ends.requested = True
        self._link.close()
        self._ring = None  # the memory stays as long as pictures are in it

    def _begin(self, what: Literal["frames", "pictures"]) -> None:
        if self._started:
            raise RuntimeError(f"source {self.name} was iterated already; open it again")
        self._started = True
        self._link.send({"read": what})

    def _frames(self) -> Iterator[Frame]:
        last = -1
        while (message := self._next()) is not None:
            if not isinstance(message, messages.FrameMessage) or message.index <= last:
                raise self._link.nonsense()
            last = message.index
            image = self._image(message.pixels)
            self._count(message.totals)
            yield Frame(
                source=self.name,
                index=message.index,
                pts=message.pts,
                utc=message.taken,
                captured_at=time.monotonic(),
                image=image,
                still=message.still,
                file=message.file,
            )

    def _picture(self, message: messages.PictureMessage) -> Picture:
        pixels = message.pixels
        if pixels is None:
            return NoPicture(message.time)
        if pixels.format == "bgr24":
            return ImagePicture(message.time, self._image(pixels))
        ring, planes = self._hold(pixels)
        if self._converter is None or self._converter.ratio != pixels.ratio:
            self._converter = Converter(pixels.ratio, most_pixels=self._options.shrink_above)
        picture = SlotPicture(message.time, self._converter, ring, pixels, planes)
        if ring.left < _SPARE:
            picture.copy()
        return picture

    def _image(self, pixels: messages.Pixels) -> Image:
        """A copy that nobody else changes, H×W×3."""
        if pixels.format != "bgr24":
            raise self._link.nonsense()
        ring, (plane,) = self._hold(pixels)
        image = np.array(plane).reshape(pixels.height, pixels.width, 3)
        ring.free(pixels.slot)
        return image

    def _hold(self, pixels: messages.Pixels) -> tuple[Ring, list[Image]]:
        ring = self._ring
        try:
            if ring is None or pixels.ring != ring.number:
                raise ValueError("there is no such ring")
            planes = ring.planes(pixels.slot, pixels.format, pixels.width, pixels.height)
            ring.hold(pixels.slot)
        except ValueError:
            raise self._link.nonsense() from None
        return ring, planes

    def _count(self, totals: messages.Totals) -> None:
        # Two threads of the decoder send them: an older message may come after a newer one.
        self.decoded = max(self.decoded, totals.decoded)
        self.skipped = max(self.skipped, totals.skipped)
        self.corrupt = max(self.corrupt, totals.corrupt)

    def _next(self) -> messages.Message | None:
        """The next message with a picture; None at the end.

        Raises:
            SourceError: what ended it, or a lost decoder.
        """
        while True:
            match self._link.receive():
                case messages.AliveMessage(totals=totals):
                    self._count(totals)
                case messages.RoomMessage(bytes=size):
                    self._make_room(size)
                case messages.DecoderMessage(by=by, fallback=fallback):
                    if self._options.on_decoder is not None:
                        self._options.on_decoder(self.name, by, fallback)
                case messages.EndMessage() as message:
                    self._ended(message)
                    return None
                case other:
                    return None if self._ends() else other

    def _ended(self, message: messages.EndMessage) -> None:
        self._count(message.totals)
        self.whole = message.whole
        self.problems += message.problems
        if message.error is None or self._ends():
            return
        if message.cause == "memory":
            raise self._link.out_of_memory()
        if message.cause == "other":
            raise DecoderFailed(message.error)
        why = message.reason or message.error
        raise SourceError(message.error, retry=message.retry, reason=why)

    def _make_room(self, size: int) -> None:
        """A ring with larger slots, which take no more than half of what the decoder may use."""
        if size > self._memory // 4:
            raise self._link.out_of_memory()
        if self._ring is not None and size <= self._ring.slot_bytes:
            raise self._link.nonsense()
        self._rings += 1
        slots = min(_SLOTS, self._memory // 2 // size)
        try:
            ring = Ring(self._rings, slots, size, self._link.free)
        except OSError as error:
            why = f"there is no memory for its frames: {error.strerror or error}"
            raise self._link.lost(why, "memory", retry="slowly") from error
        about = {"number": ring.number, "slots": slots, "slot_bytes": ring.slot_bytes}
        self._link.send({"ring": about}, [ring.descriptor])
        ring.close()  # the decoder has a descriptor of its own
        self._ring = ring


def _request(spec: SourceSpec, options: SourceOptions, limits: DecoderLimits) -> DecoderRequest:
    files = [] if options.tls.ca is None else [options.tls.ca]
    if spec.kind in {"video", "images"}:
        files += spec.files or [Path(spec.location)]
    hardware = options.decoding.decoder != "cpu"
    return DecoderRequest(
        spec,
        replace(options, halt=None, on_decoder=None),
        # What the drivers of hardware need of memory and files is theirs to know.
        memory=None if hardware else limits.memory,
        readable=None if hardware else tuple(map(str, files)),
        device=spec.location if spec.kind == "camera" else None,
        level=log.getEffectiveLevel(),
    )
