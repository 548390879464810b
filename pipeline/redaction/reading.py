"""Decodes a video twice alike: the same frames, with the same numbers and times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from facestream.engines.closing import Closing

from ..core.errors import SourceError
from ..core.types import Floats
from ..sources.allowed import FILE
from ..sources.convert import Converter, orientation_of, square_width
from ..sources.decode import fps_of, packets_of, reason, video_stream
from ..sources.hardware import BY_CPU
from ..sources.opening import Opening, open_container

log = logging.getLogger(__name__)


class VideoReader(Closing):
    """The packets of a file, and the frames of the video in it.

    Unlike a source of a run it gives every frame as it is coded, damaged ones too: players show
    them.

    Args:
        path: of a video file.
        threads: that decode.

    Raises:
        SourceError: it cannot be read, or holds no video.

    Attributes:
        stream: the video.
        corrupt: packets that could not be decoded.
    """

    def __init__(self, path: Path, *, threads: int = 2) -> None:
        self.name = str(path)
        self.corrupt = 0
        try:
            self.container = open_container(f"file:{path}", Opening(FILE, BY_CPU, self.name))
        except (av.error.FFmpegError, UnicodeError) as error:
            raise SourceError(f"cannot read {path}: {reason(error)}") from error
        try:
            self.stream: VideoStream = video_stream(self.container, self.name, None)
            self.stream.thread_type = "AUTO"
            self.stream.codec_context.thread_count = threads
            ratio = float(self.stream.sample_aspect_ratio or 1)
            self.converter = Converter(ratio)
            self.time_base = self.stream.time_base or Fraction(1, av.time_base)
            self._step = max(1, round(1 / (fps_of(self.stream) or 25) / self.time_base))
            self._last: int | None = None
        except BaseException:
            self.close()
            raise

    @property
    def frames_expected(self) -> int | None:
        """How many frames the file says, or what its length and rate make."""
        if self.stream.frames:
            return self.stream.frames
        rate, length = fps_of(self.stream), self.container.duration
        return round(rate * length / av.time_base) if rate and length else None

    def close(self) -> None:
        self.container.close()

    def packets(self, *streams: Stream) -> Iterator[Packet[Stream]]:
        """The packets of these streams, or of all, that have content."""
        return packets_of(self.container, *streams, damaged=self._damaged)

    def _damaged(self) -> None:
        self.corrupt += 1

    def decode(self, packet: Packet[Stream] | None) -> list[VideoFrame]:
        """The frames that this packet completes, their times ascending; None ends the video."""
        try:
            frames = self.stream.codec_context.decode(cast("Packet[VideoStream] | None", packet))
        except av.error.EOFError:
            return []
        except av.error.FFmpegError as error:
            self.corrupt += 1
            log.debug("packet skipped: %s", reason(error))
            return []
        for frame in frames:
            self._stamp(frame)
        return frames

    def frames(self) -> Iterator[VideoFrame]:
        """Every frame, in the order in which it is shown.

        Raises:
            SourceError: not one frame could be decoded.
        """
        none = True
        for packet in self.packets(self.stream):
            for frame in self.decode(packet):
                none = False
                yield frame
        for frame in self.decode(None):
            none = False
            yield frame
        if none:
            raise SourceError(f"{self.name} holds no frame that can be decoded; it is damaged")

    def seconds(self, frame: VideoFrame) -> float:
        """When it is shown, on the container's clock."""
        return float((frame.pts or 0) * self.time_base)

    def _stamp(self, frame: VideoFrame) -> None:
        """Times that are missing or go backwards follow the one before."""
        frame.time_base = self.time_base
        if frame.pts is None:
            frame.pts = 0 if self._last is None else self._last + self._step
        if self._last is not None and frame.pts <= self._last:
            frame.pts = self._last + 1
        self._last = frame.pts


def on_frame(boxes: Floats, frame: VideoFrame, ratio: float) -> Floats:
    """Boxes N×4 of the upright picture of a frame, in pixels of the frame.

    ``ratio`` is the width of a pixel over its height.
    """
    turn, width = orientation_of(frame), square_width(frame.width, ratio)
    laid = turn.undo(boxes, turn.size(width, frame.height))
    laid[:, 0::2] *= frame.width / width
    return laid
