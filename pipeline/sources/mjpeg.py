"""Pictures over HTTP: MJPEG in any wrapping, and single pictures that are fetched again and again.

Cameras write the boundaries between pictures in many ways, also wrongly: what counts are the
pictures' own first and last bytes.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from itertools import chain

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ..core.errors import ImageError, SourceError
from ..core.images import decode_image
from ..core.picture_headers import check_header, jpeg_size
from ..core.picture_kinds import DAMAGE
from ..core.picture_limits import PictureLimits
from ..core.types import Image
from .base import BaseSource, Picture, SourceInfo, SourceOptions, SourceSpec
from .convert import Converter, within
from .decode import check_size
from .http_client import HttpAnswer, request

LARGEST_PICTURE = 1 << 26
"""Bytes of a picture of a camera."""
LARGEST_FRAME = 100_000_000
"""Pixels of a picture of a camera: they are decoded whole, in about 10 bytes each."""
# Bytes without a picture after which a stream is none.
_GIVE_UP = 1 << 22
_LIMITS = PictureLimits(size=LARGEST_PICTURE, pixels=LARGEST_FRAME)
_FIRST = b"\xff\xd8\xff"
_LAST = b"\xff\xd9"
_SCAN = 0xDA
_SEGMENTS = 1000  # before a picture; cameras write about ten
_FILL = re.compile(rb"\xff+")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_HEAD = 1024  # bytes before a picture in which its length is looked for


class HttpPictures(BaseSource):
    """The pictures of an HTTP answer: a stream of JPEG, or one picture that is polled.

    Args:
        answer: its first answer; closed by the source.

    Raises:
        SourceError: there is no picture in it.
    """

    live = True

    def __init__(self, spec: SourceSpec, options: SourceOptions, answer: HttpAnswer) -> None:
        self._answer = answer
        self._url = spec.location
        self.polled = answer.kind.startswith("image/")
        super().__init__(spec, options)
        try:
            self._splitter = JpegSplitter()
            self._decoder = _Decoder(options, self.name)
            self._undecoded = 0
            self._received = self._read()
            self._first, size = self._peek()
        except BaseException:
            self.close()
            raise
        fps = 1 / options.snapshot_every if self.polled else None
        self.info = SourceInfo(*size, fps=fps, clock="arrival", codec="mjpeg")

    def pictures(self) -> Iterator[Picture]:
        self._begin()
        for content in self._contents():
            self.decoded += 1
            yield CodedPicture(content, self._decoder)

    def images(self) -> Iterator[tuple[float | None, Image]]:
        for content in self._contents():
            image = self._decoder.image(content)
            if image is None:
                self._undecoded += 1
            else:
                yield time.time() - self._opened_at, image

    def close(self) -> None:
        super().close()
        self._answer.close()

    def _contents(self) -> Iterator[bytes]:
        for content in chain([self._first], self._received):
            self.corrupt = self._splitter.damaged + self._undecoded
            if self.stopped:
                return
            yield content

    def _peek(self) -> tuple[bytes, tuple[int, int]]:
        refused = ""
        for content in self._received:
            refused = too_large(content)
            if refused:
                break
            image = self._decoder.image(content)
            if image is not None:
                return content, (image.shape[1], image.shape[0])
        raise self._no_picture(refused)

    def _read(self) -> Iterator[bytes]:
        while True:
            began = time.monotonic()
            yield from self._contents_of(self._answer)
            if not self.polled or not self._wait(began + self.options.snapshot_every):
                return
            self._answer.close()
            self._answer = request(self._url, self.options, name=self.name)

    def _wait(self, until: float) -> bool:
        """False when reading ends."""
        left = max(0.0, until - time.monotonic())
        if self.options.halt is None:
            time.sleep(left)
        else:
            self.options.halt.wait(left)
        return not self.stopped

    def _contents_of(self, answer: HttpAnswer) -> Iterator[bytes]:
        """Each picture as it is complete; of another format than JPEG the whole answer."""
        whole, found, size = bytearray(), False, 0
        while chunk := answer.read():
            size += len(chunk)
            for content in self._splitter.feed(chunk):
                found = True
                yield content
            if self.polled and not found:
                whole += chunk
            if not found and size > (LARGEST_PICTURE if self.polled else _GIVE_UP):
                raise self._no_picture()
        if self.polled and not found and not self.stopped:
            yield bytes(whole)

    def _no_picture(self, why: str = "") -> SourceError:
        kind = self._answer.content_type or "no content type"
        if why:
            pass
        elif self.polled:
            why = f"the picture cannot be decoded ({kind})"
        else:
            boundary = re.search(r"boundary=\"?([^\";]+)", kind, re.IGNORECASE)
            between = f"after its boundary '{boundary[1]}'" if boundary else "in it"
            why = f"there is no JPEG picture {between} ({kind})"
        return SourceError(f"cannot read {self.name}: {why}", retry="slowly", reason=why)


def too_large(content: bytes) -> str:
    """Why a JPEG is not given to the decoder; empty where it is."""
    if content.startswith(_FIRST):
        try:
            check_header(content, "JPEG", "the picture", _LIMITS)
        except ImageError as error:
            return str(error)
        except DAMAGE:
            pass
    return ""


def holds_pictures(answer: HttpAnswer) -> bool:
    """Whether an answer is pictures, by its type or its first bytes."""
    if answer.kind.startswith(("multipart/", "image/")):
        return True
    return answer.peek().lstrip().startswith((b"--", _FIRST))


class CodedPicture:
    """A picture as it was received, decoded only on demand; a `Picture`."""

    __slots__ = ("_content", "_decoder", "time")

    def __init__(self, content: bytes, decoder: _Decoder) -> None:
        self.time = None
        self._content = content
        self._decoder = decoder

    def image(self) -> Image | None:
        return self._decoder.image(self._content)

    def sample(self) -> bytes:
        return self._decoder.sample(self._content)

    def decoded(self) -> tuple[VideoFrame, float] | None:
        """The frame, and width over height of a pixel; None: it is no JPEG, or damaged."""
        frame = self._decoder.frame(self._content)
        return None if frame is None else (frame, 1.0)


class _Decoder:
    """Decodes pictures; for any threads, one at a time.

    Pictures that would be shrunk are decoded at a half, a quarter or an eighth where that is
    enough, which takes a part of the memory.
    """

    def __init__(self, options: SourceOptions, name: str) -> None:
        self._name = name
        self._shrink, self._refuse = options.shrink_above, options.refuse_above
        # FFmpeg may find a size where `jpeg_size` does not.
        self._most = LARGEST_FRAME if self._refuse is None else min(self._refuse, LARGEST_FRAME)
        self._converter = Converter(1.0, most_pixels=self._shrink)
        self._codecs: dict[int, VideoCodecContext] = {}  # by the power of two of its reduction
        self._lock = threading.Lock()

    def image(self, content: bytes) -> Image | None:
        if content.startswith(_FIRST):
            frame = self._decode(content)
            return None if frame is None else self._converter.convert(frame)
        try:
            image = decode_image(content, limits=_LIMITS)
        except ImageError:
            return None
        size = within(image.shape[1], image.shape[0], self._shrink)
        if size == (image.shape[1], image.shape[0]):
            return image
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    def sample(self, content: bytes) -> bytes:
        if content.startswith(_FIRST):
            frame = self._decode(content)
            return b"" if frame is None else self._converter.sample(frame)
        image = self.image(content)
        return b"" if image is None else image[::8, ::8, 1].tobytes()

    def frame(self, content: bytes) -> VideoFrame | None:
        """Of a JPEG; None where it is none, or damaged."""
        return self._decode(content) if content.startswith(_FIRST) else None

    def _decode(self, content: bytes) -> VideoFrame | None:
        if too_large(content):
            return None
        width, height = jpeg_size(content) or (0, 0)
        check_size(self._name, width, height, self._refuse)
        lowres = 0
        while self._shrink and lowres < 3 and (width * height) >> (2 * lowres + 2) >= self._shrink:
            lowres += 1
        with self._lock:
            try:
                frames = self._codec(lowres).decode(av.Packet(content))
            except (av.error.FFmpegError, ValueError):
                return None
        return frames[-1] if frames and not frames[-1].is_corrupt else None

    def _codec(self, lowres: int) -> VideoCodecContext:
        if lowres not in self._codecs:
            codec = VideoCodecContext.create("mjpeg", "r")
            codec.thread_count = 1
            codec.options = {"lowres": str(lowres), "max_pixels": str(self._most)}
            self._codecs[lowres] = codec
        return self._codecs[lowres]


class JpegSplitter:
    """Cuts JPEG pictures out of a stream of bytes, whatever lies between them.

    Attributes:
        damaged: pictures that were cut short, and what looked like one.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._buffer = bytearray()  # begins with a picture, or holds none
        self._begun = False
        self._length: int | None = None  # of the picture, as the header before it says
        self._at = 0  # the next segment; in the coded picture, where its end is looked for
        self._coded = False
        self._segments = 0

    def feed(self, more: bytes) -> list[bytes]:
        """The pictures that these bytes complete."""
        self._buffer += more
        found = []
        while self._begun or self._begin():
            end = self._end()
            if end is None:
                break
            complete = self._buffer.startswith(_LAST, end - 2)
            if complete:
                found.append(bytes(self._buffer[:end]))
            elif self._length is not None and self._coded and self._length <= end:
                # Some cameras leave the last two bytes out.
                found.append(bytes(self._buffer[: self._length]) + _LAST)
            else:
                self.damaged += 1
            # The header of the picture after an incomplete one is still needed.
            del self._buffer[: end if complete else max(2, end - _HEAD)]
            self._begun = False
        return found

    def _begin(self) -> bool:
        """Put the next picture to the front of the buffer; False where none begins."""
        start = self._buffer.find(_FIRST)
        if start < 0:
            del self._buffer[:-_HEAD]
            return False
        lengths = _LENGTH.findall(self._buffer, max(0, start - _HEAD), start)
        self._length = int(lengths[-1]) if lengths else None
        del self._buffer[:start]
        self._begun, self._coded, self._at, self._segments = True, False, 2, 0
        return True

    def _end(self) -> int | None:
        """Where the picture ends, or the next one begins; None: more bytes are needed."""
        buffer = self._buffer
        while not self._coded:
            if len(buffer) < self._at + 4:
                return None if len(buffer) <= LARGEST_PICTURE else len(buffer)
            # Segments with their length: in them another picture, a preview, may lie.
            mark, kind = buffer[self._at : self._at + 2]
            length = int.from_bytes(buffer[self._at + 2 : self._at + 4], "big")
            if kind == 0xFF:
                fill = _FILL.match(buffer, self._at)
                self._at = fill.end() - 1 if fill else self._at + 1
                continue
            self._segments += 1
            unknown = mark != 0xFF or kind < 0xC0 or 0xD0 <= kind <= 0xD9 or length < 2
            if unknown or self._segments > _SEGMENTS:
                return 2
            self._at += 2 + length
            self._coded = kind == _SCAN
        # In a coded picture these two never occur.
        end = buffer.find(_LAST, self._at)
        other = buffer.find(_FIRST, self._at, end if end >= 0 else None)
        if other >= 0 or end >= 0:
            return other if other >= 0 else end + 2
        self._at = max(self._at, len(buffer) - 2)
        return None if len(buffer) <= LARGEST_PICTURE else len(buffer)
