"""What files, URLs and cameras have in common: one video stream read through PyAV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import av
from av.container import InputContainer
from facestream.engines.closing import Closing

from ..errors import SourceError
from ..types import Frame
from .base import Clock, SourceInfo, SourceOptions, SourceSpec
from .decode import Decoder, Picture, fps_of, reason, video_stream


class StreamSource(Closing):
    """Frames of a container's video stream.

    The first frame is decoded when it is opened: what opens can be decoded, and its real size,
    rotation included, is known.

    Args:
        spec: what is read.
        options: how.
        container: opened; belongs to the source from now on, also when this raises.
        latency: see `Decoder`.

    Raises:
        SourceError: no video in it, no decoder for it, or not one frame could be decoded.
    """

    live = False
    still = False

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
        self._options = options
        self._container = container
        self._opened_at = time.time()
        self._problems: list[str] = []
        self._stopped = False
        self._started = False
        self._closed = False
        self._last_pts: float | None = None
        try:
            self._stream = video_stream(container, self.name)
            self._decoder = Decoder(
                container, self._stream, threads=options.decode_threads, latency=latency
            )
            self._pictures = self._decoder.pictures()
            self._first: Picture | None = self._peek()
        except BaseException:
            self.close()
            raise
        self._fps = fps_of(self._stream)
        self._origin = self._start()
        self._epoch, clock = self._clock()
        self.info = self._described(clock)

    @property
    def corrupt(self) -> int:
        """Damaged packets and frames so far."""
        return self._decoder.corrupt

    @property
    def problems(self) -> list[str]:
        """What was wrong so far, a line each."""
        damaged = self.corrupt
        noted = [f"damaged packets or frames: {damaged}"] if damaged else []
        return [*self._problems, *noted]

    def __iter__(self) -> Iterator[Frame]:
        """See `Source`."""
        if self._started:
            raise RuntimeError(f"source {self.name} was iterated already; open it again")
        self._started = True
        return self._frames()

    def stop(self) -> None:
        """End the iteration after the frame that is being decoded."""
        self._stopped = True

    def close(self) -> None:
        """Free the container and the decoder."""
        if not self._closed:
            self._closed = True
            self._stopped = True
            self._container.close()

    def _frames(self) -> Iterator[Frame]:
        pictures = self._all_pictures()
        try:
            while not self._stopped and self.decoded != self._options.max_frames:
                picture = next(pictures, None)
                if picture is None:
                    self._check_end()
                    return
                index, self.decoded = self.decoded, self.decoded + 1
                yield self._frame(index, picture)
        except av.error.FFmpegError as error:
            self._broke_off(error)
            self._check_end()

    def _frame(self, index: int, picture: Picture) -> Frame:
        pts = self._pts(picture)
        return Frame(
            source=self.name,
            index=index,
            pts=pts,
            utc=self._epoch + pts,
            captured_at=time.monotonic(),
            image=picture.image,
            still=self.still,
        )

    def _all_pictures(self) -> Iterator[Picture]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._pictures

    def _peek(self) -> Picture:
        try:
            return next(self._pictures)
        except StopIteration:
            raise SourceError(
                f"{self.name} holds no frame that can be decoded; the file is damaged or cut short"
            ) from None
        except av.error.FFmpegError as error:
            # `from None`: PyAV's own message holds the location, credentials included.
            raise SourceError(f"cannot read {self.name}: {reason(error)}") from None

    def _start(self) -> float:
        """What counts as 0: a file's start as players show it (sound may begin before the
        picture), a live stream's first frame."""
        start = self._container.start_time
        if not self.live and start is not None:
            return start / av.time_base
        return (self._first.time if self._first is not None else None) or 0.0

    def _pts(self, picture: Picture) -> float:
        """Seconds since the start; never backwards, whatever the container says."""
        last = self._last_pts
        step = 1 / self._fps if self._fps else 0.04
        if picture.time is None:
            pts = 0.0 if last is None else last + step
        else:
            pts = max(0.0, picture.time - self._origin)
            if last is not None and pts < last:
                pts = last + step
                self._origin = picture.time - pts
        self._last_pts = pts
        return pts

    def _described(self, clock: Clock) -> SourceInfo:
        height, width = self._first.image.shape[:2] if self._first is not None else (None, None)
        duration = self._container.duration
        return SourceInfo(
            width=width,
            height=height,
            fps=self._fps,
            frames=self._stream.frames or None,
            duration=duration / av.time_base if duration and not self.live else None,
            clock=clock,
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
