"""The decoder's program: ``python -m facestream.pipeline.sources.process.child SOCKET PARENT``."""

from __future__ import annotations

import logging
import mmap
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from math import isnan
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from ...core.errors import Closed, SourceError, SourceTooLarge
from ...core.types import Frame, Image
from .. import Picture, Source, open_built_in
from ..convert import is_plain
from ..decode import DecodedPicture
from ..mjpeg import CodedPicture
from . import sandbox
from .request import DecoderRequest
from .ring import PLANES, PixelFormat, bytes_of, plane_of, plane_shapes, views
from .wire import DecoderWire

log = logging.getLogger(__name__)

_BEAT = 1.0  # seconds between two signs of life
_LISTED, _LENGTH = 100, 500  # of what a message says of problems


class Halt(threading.Event):
    """Notes that somebody asks: reading goes on. Every loop that reads or waits asks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0.0
        self._waiting = False

    @property
    def working(self) -> bool:
        """Asked within the last beat, or waiting as it should (for the next snapshot)."""
        return self._waiting or time.monotonic() - self.asked < 2 * _BEAT

    def is_set(self) -> bool:
        self.asked = time.monotonic()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._waiting = True
        try:
            return super().wait(timeout)
        finally:
            self._waiting = False


class FrameSlots:
    """Where pictures are put for the parent."""

    def __init__(self, wire: DecoderWire, halt: Halt) -> None:
        self._wire = wire
        self._halt = halt
        self._changed = threading.Condition()
        self._memory: mmap.mmap | None = None
        self._number = -1
        self._slot_bytes = 0
        self._free: list[int] = []

    def open(self, descriptor: int, *, number: int, slots: int, slot_bytes: int) -> None:
        """A new ring, all of it free; the one before is not used any more."""
        with self._changed:
            self._memory = mmap.mmap(descriptor, slots * slot_bytes)
            self._number, self._slot_bytes = number, slot_bytes
            self._free = list(range(slots))
            self._changed.notify()
        os.close(descriptor)

    def free(self, number: int, slot: int) -> None:
        with self._changed:
            if number == self._number:
                self._free.append(slot)
                self._changed.notify()

    def put_frame(self, frame: VideoFrame, ratio: float) -> dict[str, Any]:
        """The planes of a frame whose format is in `PLANES`; returns the message's ``pixels``."""
        pixels: PixelFormat = frame.format.name  # type: ignore[assignment]
        slot, planes = self._take(pixels, frame.width, frame.height)
        for number, plane in enumerate(planes):
            plane[:] = plane_of(frame, number, (plane.shape[0], plane.shape[1]))
        about = {"matrix": int(frame.colorspace), "range": int(frame.color_range), "ratio": ratio}
        return self._described(slot, pixels, frame.width, frame.height) | about

    def put_image(self, image: Image) -> dict[str, Any]:
        height, width = image.shape[:2]
        slot, (plane,) = self._take("bgr24", width, height)
        plane[:] = image.reshape(height, width * 3)
        return self._described(slot, "bgr24", width, height)

    def _described(self, slot: int, pixels: str, width: int, height: int) -> dict[str, Any]:
        return {
            "ring": self._number,
            "slot": slot,
            "format": pixels,
            "width": width,
            "height": height,
        }

    def _take(self, pixels: PixelFormat, width: int, height: int) -> tuple[int, list[Image]]:
        """A free slot, as planes; raises Closed when reading ends."""
        needed = bytes_of(pixels, width, height)
        if needed > self._slot_bytes:
            self._wire.send({"kind": "room", "bytes": needed})
        with self._changed:
            while needed > self._slot_bytes or not self._free:
                if self._halt.is_set():
                    raise Closed("reading ends")
                self._changed.wait(0.1)
            # The one that was freed last is still in the processor's cache.
            slot = self._free.pop()
            memory = self._memory
        if memory is None:
            raise Closed("there is no ring")
        at = slot * self._slot_bytes
        return slot, views(memory, at, plane_shapes(pixels, width, height))


class DecoderProcess:
    """Opens the source, gives its frames to the parent, and ends with it."""

    def __init__(self, wire: DecoderWire, request: DecoderRequest) -> None:
        self._wire = wire
        self._halt = Halt()
        self._slots = FrameSlots(wire, self._halt)
        self._spec = request.spec
        self._options = replace(request.options, halt=self._halt, on_decoder=self._on_decoder)
        self._source: Source | None = None
        self._wanted = threading.Event()
        self._as_frames = False

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        end: dict[str, Any] = {}
        try:
            with open_built_in(self._spec, self._options) as source:
                self._source = source
                self._serve(source)
        except (SourceTooLarge, MemoryError):
            end = {"error": "no memory", "cause": "memory"}
        except SourceError as error:
            end = {"error": str(error), "reason": error.reason, "retry": error.retry}
        except Closed:
            pass
        except Exception as error:  # noqa: BLE001 - the parent raises it
            end = {"error": f"{type(error).__name__}: {error}", "cause": "other"}
        self._say_end(end)

    def _serve(self, source: Source) -> None:
        info = source.info
        self._wire.send(
            {
                "kind": "opened",
                "live": source.live,
                "bursts": source.bursts,
                "width": info.width,
                "height": info.height,
                "fps": info.fps,
                "frames": info.frames,
                "duration": info.duration,
                "clock": info.clock,
                "codec": info.codec[:40],
            }
        )
        while not self._wanted.wait(0.1):
            if self._halt.is_set():
                return
        for message in self._frames(source) if self._as_frames else self._pictures(source):
            self._wire.send(message)

    def _frames(self, source: Source) -> Iterator[dict[str, Any]]:
        for frame in source:
            yield {"kind": "frame", **self._of_frame(frame), "totals": self._totals()}

    def _of_frame(self, frame: Frame) -> dict[str, Any]:
        return {
            "pixels": self._slots.put_image(frame.image),
            "index": frame.index,
            "pts": frame.pts,
            "utc": None if isnan(frame.utc) else frame.utc,
            "still": frame.still,
            "file": frame.file,
        }

    def _pictures(self, source: Source) -> Iterator[dict[str, Any]]:
        for picture in source.pictures():
            pixels = self._put(picture)
            totals = self._totals()
            yield {"kind": "picture", "pixels": pixels, "time": picture.time, "totals": totals}

    def _put(self, picture: Picture) -> dict[str, Any] | None:
        """Planes as they were decoded, half of what BGR takes; converted only when it is needed."""
        decoded = None
        if isinstance(picture, DecodedPicture | CodedPicture):
            decoded = picture.decoded()
        if decoded is not None and decoded[0].format.name in PLANES and is_plain(decoded[0]):
            return self._slots.put_frame(*decoded)
        image = picture.image()
        return None if image is None else self._slots.put_image(np.ascontiguousarray(image))

    def _totals(self) -> dict[str, int]:
        source = self._source
        if source is None:
            return {"decoded": 0, "skipped": 0, "corrupt": 0}
        return {"decoded": source.decoded, "skipped": source.skipped, "corrupt": source.corrupt}

    def _say_end(self, end: Mapping[str, Any]) -> None:
        source = self._source
        problems = [] if source is None else [line[:_LENGTH] for line in source.problems[:_LISTED]]
        whole = source is not None and source.whole
        message = {"kind": "end", "totals": self._totals(), "whole": whole, "problems": problems}
        message.update({key: text[:1500] for key, text in end.items()})
        with suppress(OSError):
            self._wire.send(message)

    def _on_decoder(self, _: str, by: str, fallback: str | None) -> None:
        self._wire.send({"kind": "decoder", "by": by, "fallback": fallback})

    def _listen(self) -> None:
        """What the parent says; without a parent there is nothing to do."""
        try:
            while True:
                if not select.select([self._wire], [], [], _BEAT)[0]:
                    if self._halt.working:
                        self._beat()
                    continue
                message, descriptors = self._wire.receive_with_descriptors()
                if "free" in message:
                    self._slots.free(*message["free"])
                elif "read" in message:
                    self._as_frames = message["read"] == "frames"
                    self._wanted.set()
                elif "ring" in message:
                    self._slots.open(descriptors[0], **message["ring"])
                else:
                    self._halt.set()
                    self._beat()  # the last counts: the other thread may hang
        except (OSError, EOFError):
            os._exit(0)

    def _beat(self) -> None:
        with suppress(BlockingIOError):
            self._wire.send_if_room({"kind": "alive", "totals": self._totals()})


class _ToParent(logging.Handler):
    def __init__(self, wire: DecoderWire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            text = record.getMessage()[:1500]
            self._wire.send_if_room({"kind": "log", "level": record.levelno, "text": text})


def main() -> None:
    sandbox.harden(int(sys.argv[2]))
    wire = DecoderWire(socket.socket(fileno=int(sys.argv[1])))
    try:
        request: DecoderRequest = wire.receive_object()
    except EOFError:
        return
    logging.basicConfig(level=request.level, handlers=[_ToParent(wire)])
    if request.readable is not None:
        restricted = sandbox.restrict_files(request.readable, request.device)
        if not restricted:
            log.debug("this kernel has no Landlock: the decoder's files are not restricted")
    if request.memory is not None:
        sandbox.limit_memory(request.memory)
    DecoderProcess(wire, request).run()
    os._exit(0)  # a thread of a decoder may hang


if __name__ == "__main__":
    main()
