"""What files, URLs and cameras have in common: one video stream read through PyAV."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from math import inf
from typing import Literal

import av
from av.container import InputContainer
from facestream.engines.closing import Closing

from ..core.errors import SourceError
from ..core.types import Frame, Image
from ..runtime.priority import yield_to_other_threads
from .base import Clock, Picture, SourceInfo, SourceOptions, SourceSpec
from .clock import FileClock, LiveClock
from .decode import VideoDecoder, fps_of, reason, video_stream

# FFmpeg's AVFMT_NOTIMESTAMPS: MJPEG over HTTP, bare H.264.
_NO_TIMESTAMPS = 0x80
# FFmpeg's AVFMT_TS_DISCONT: MPEG-TS, VOB. Its own programs leave jumps of ten seconds out.
_CLOCK_JUMPS = 0x200


class StopRequest:
    """True when reading ends; called by the decoder at every packet.

    A decoder that refers to its source would be a cycle, and keep its pictures until the garbage
    collector runs.
    """

    def __init__(self, halt: threading.Event | None) -> None:
        self.requested = False
        self._halt = halt

    def __call__(self) -> bool:
        return self.requested or (self._halt is not None and self._halt.is_set())


class StreamSource(Closing):
    """Frames of a container's video stream; see `Source`.

    The first frame is decoded when it is opened: what opens can be decoded, and its real size,
    rotation included, is known.

    Args:
        container: opened; the source closes it, also when this raises.
        latency: see `VideoDecoder`.

    Raises:
        SourceError: no video in it, no decoder for it, or not one frame could be decoded.
    """

    live = False
    still = False
    piped = False  # another program sends it

    def __init__(
        self,
        spec: SourceSpec,
        options: SourceOptions,
        container: InputContainer,
        *,
        latency: Literal["normal", "low"] = "normal",
    ) -> None:
        self.name = spec.name
        self.decoded = 0
        self.skipped = 0
        self.whole = False
        self.bursts = container.format.name in {"hls", "dash"}
        self._options = options
        self._container = container
        self._opened_at = time.time()
        self._problems: list[str] = []
        self._ends = StopRequest(options.halt)
        self._started = False
        self._closed = False
        self._damaged = 0
        try:
            track = options.track if spec.track is None else spec.track
            self._stream = video_stream(container, self.name, track)
            self._decoder = VideoDecoder(
                *(container, self._stream),
                # One thread for a camera: its frames come one by one, and there are more cameras.
                threads=1 if latency == "low" else options.decode_threads,
                latency=latency,
                stopped=self._ends,
                timeless=self._timeless(container),
                decoding=options.decoding,
                name=spec.name,
                on_decoder=options.on_decoder,
                shrink_above=options.shrink_above,
                refuse_above=options.refuse_above,
            )
            context = self._stream.codec_context
            if (options.shrink_above or inf) < context.width * context.height:
                yield_to_other_threads()  # it decodes here; others' pictures cost less
            self._pictures = self._decoder.pictures()
            self._first: Picture | None
            self._first, image = self._peek()
        except BaseException:
            self.close()
            raise
        self._fps = None if self._timeless(container) else fps_of(self._stream)
        self._file_clock = FileClock(
            *(self._start(), 1 / self._fps if self._fps else 0.04),
            jumps=self.piped or bool(container.format.flags & _CLOCK_JUMPS),
        )
        self._arrived = time.monotonic()
        self._live_clock = LiveClock()
        self._epoch, clock = self._clock()
        self.info = self._described(image, clock)

    @property
    def corrupt(self) -> int:
        return self._decoder.corrupt + self._damaged + self._decoder.left_out

    @property
    def problems(self) -> list[str]:
        damaged = [f"damaged packets or frames: {self.corrupt}"] if self.corrupt else []
        if smeared := self._decoder.left_out:
            damaged.append(f"frames left out between damage and the next whole one: {smeared}")
        return self._problems + damaged

    def __iter__(self) -> Iterator[Frame]:
        return self._frames(self.pictures())

    def pictures(self) -> Iterator[Picture]:
        if self._started:
            raise RuntimeError(f"source {self.name} was iterated already; open it again")
        self._started = True
        return self._all_pictures()

    def stop(self) -> None:
        self._ends.requested = True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ends.requested = True
            self._container.close()

    def _timeless(self, container: InputContainer) -> bool:
        """FFmpeg makes its times up: for a live stream the time of arrival is more accurate."""
        return self.live and bool(container.format.flags & _NO_TIMESTAMPS)

    def _frames(self, pictures: Iterator[Picture]) -> Iterator[Frame]:
        while self.decoded != self._options.max_frames:
            picture = next(pictures, None)
            if picture is None:
                return
            frame = self._frame(picture)
            if frame is not None:
                yield frame

    def _frame(self, picture: Picture) -> Frame | None:
        """None when it is skipped or cannot be converted."""
        index = self.decoded
        wanted = index % self._options.every == 0
        image = picture.image() if wanted else None
        if wanted and image is None:
            self._damaged += 1
            return None
        self.decoded += 1
        arrived = time.monotonic()
        if self.live:
            pts = self._live_clock.stamp(picture.time, arrived, period=self.info.period)
        else:
            passed = arrived - self._arrived if self.piped else 0.0
            pts = self._file_clock.stamp(picture.time, passed=passed)
        self._arrived = arrived
        if image is None:
            self.skipped += 1
            return None
        utc = time.time() if self.live else self._epoch + pts
        return Frame(self.name, index, pts, utc, arrived, image, self.still)

    def _all_pictures(self) -> Iterator[Picture]:
        try:
            picture, self._first = self._first, None
            while picture is not None and not self._ends():
                yield picture
                picture = None if self._ends() else next(self._pictures, None)
            if self._decoder.stuck:
                why = "its packets cannot be decoded any more; has the codec changed?"
                if self._decoder.decoded_by != "cpu":
                    why = f"decoding by {self._decoder.decoded_by} failed; use --decode cpu"
                raise SourceError(f"{self.name}: {why}", reason=why)
            if not self._ends():
                self._check_end()
        except av.error.FFmpegError as error:
            self._broke_off(error)
            self._check_end()

    def _peek(self) -> tuple[Picture, Image]:
        try:
            while True:
                picture = next(self._pictures)
                image = picture.image()
                if image is not None:
                    return picture, image
                self._damaged += 1
        except StopIteration:
            raise self._without_frames() from None
        except av.error.FFmpegError as error:
            # `from None`: PyAV's own message holds the location, credentials included.
            raise self._unreadable(error) from None

    def _without_frames(self) -> SourceError:
        """The error when not one frame could be decoded."""
        by = self._options.decoding.decoder
        hint = "" if by == "cpu" else f", or {by} fails (try --decode cpu)"
        why = f"holds no frame that can be decoded; the file is damaged or cut short{hint}"
        if self._decoder.left_out:
            why = "holds no whole picture; it begins midway, or is damaged, without a key frame"
        return SourceError(f"{self.name} {why}")

    def _unreadable(self, error: av.error.FFmpegError) -> SourceError:
        """The error when the first frame cannot be read."""
        return SourceError(f"cannot read {self.name}: {reason(error)}")

    def _start(self) -> float:
        """The time that counts as 0: a file's start as players show it (sound may begin first)."""
        start: int | None = self._container.start_time
        first = self._first.time if self._first is not None else None
        return first or 0.0 if start is None else start / av.time_base

    def _described(self, image: Image, clock: Clock) -> SourceInfo:
        height, width = image.shape[:2]
        duration = self._container.duration
        return SourceInfo(
            width=width,
            height=height,
            fps=self._fps,
            frames=self._stream.frames or None,
            duration=duration / av.time_base if duration and not self.live else None,
            clock="arrival" if self.live else clock,
            codec=self._stream.codec_context.name,
        )

    def _clock(self) -> tuple[float, Clock]:
        """Seconds since the epoch at pts 0, and where they come from."""
        return self._opened_at, "opened"

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        """Reading ended with an error; here that is the end of the source."""
        raise SourceError(f"{self.name} broke off: {reason(error)}") from None

    def _check_end(self) -> None:
        """The stream ended by itself: was it all there?"""
        length = (self._container.duration or 0) / av.time_base
        self.whole = 0 < 0.95 * length <= self._reached()

    def _reached(self) -> float:
        """Seconds read, of any stream: sound may continue after the last picture."""
        return self._decoder.end - (self._container.start_time or 0) / av.time_base
