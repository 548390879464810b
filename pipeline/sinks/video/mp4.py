"""One annotated video file: H.264 in MP4."""

from __future__ import annotations

import io
import logging
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from facestream.engines.private_files import named, private

from ...core.errors import OutputError
from ...core.filenames import part_of
from ...core.types import Frame, FrameResult, Image
from ..files import check_writable
from .overlay import Fit, draw_tracks

log = logging.getLogger(__name__)

TICKS = 90_000
STILL_SECONDS = 1.0
HELD_SECONDS = 10.0
"""A source that begins later than this begins at 0 in the video."""
_BOX = struct.Struct(">I4s")
LARGEST = (4096, 2304)
"""Largest picture browsers decode (H.264 level 5.2)."""


def check_video(path: Path) -> None:
    """Make sure that annotated video can be written to a path.

    Raises OutputError if it is no ``.mp4``, or cannot be written.
    """
    if path.suffix.lower() not in (".mp4", ".m4v"):
        raise OutputError(f"cannot write {path}: the annotated video must end in .mp4")
    check_writable(path)


class WholeFile(io.FileIO):
    """A file that FFmpeg writes to: we opened it, so that we can close it.

    FFmpeg leaves a file that it opened itself open when the header cannot be written, e.g. because
    the disk is full. Nothing is buffered, so that each fragment is on the disk when it is written.
    """

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all of it: FFmpeg ignores a short write."""
        left = memoryview(data)
        while left:
            left = left[super().write(left) :]
        return len(data)


class Mp4Writer:
    """Draws what was found on frames and writes them to a fragmented file; see `VideoSink`.

    Args:
        path: of the file.
        shape: height and width of the first frame.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path = path
        self._height, self._width = _video_size(shape)
        self._last = -1
        self._step = TICKS // 25
        self._shift = 0
        self._unwritten = 0  # frames since the last fragment
        self.broken = False
        try:
            self._raw = WholeFile(path, "w", opener=named)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {_reason(error)}") from error
        try:
            self._file = av.open(
                self._raw,
                "w",
                format="mp4",
                options={
                    "movflags": "frag_keyframe+empty_moov+default_base_moof",
                    "flush_packets": "1",
                    "video_track_timescale": str(TICKS),
                },
            )
            self._stream = self._file.add_stream("libx264", rate=30)
        except (av.FFmpegError, OSError) as error:
            self._raw.close()
            raise OutputError(f"cannot write {path}: {_reason(error)}") from error
        context = self._stream.codec_context
        context.width, context.height = self._width, self._height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, TICKS)
        context.gop_size = 50  # a fragment ends with each: what a crash can cost
        # What cv2's conversion makes; players guess wrong without it. 5 and 6: BT.601, 1: BT.709.
        context.colorspace, context.color_range = 6, 1
        context.color_primaries, context.color_trc = 1, 1
        # Measured at 1080p on 2 cores, CPU a frame and size: superfast without lookahead 19 ms
        # and 100 %, ultrafast 16 ms and 200 %, veryfast 42 ms and 60 %. Without lookahead the
        # encoder holds no frames back either.
        self._stream.options = {"preset": "superfast", "tune": "zerolatency", "crf": "23"}
        context.thread_count = 2

    def _canvas(self, image: Image) -> tuple[Image, Fit]:
        """A copy of a frame in the size of the video, and where the frame lies on it."""
        height, width = image.shape[:2]
        if self._height - height in (0, 1) and self._width - width in (0, 1):
            # Odd sizes: H.264 in 4:2:0 needs even ones, the last row or column is repeated.
            edges = (0, self._height - height, 0, self._width - width)
            return np.asarray(
                cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE), np.uint8
            ), Fit()
        scale = min(self._width / width, self._height / height)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        left, top = (self._width - size[0]) // 2, (self._height - size[1]) // 2
        canvas = np.zeros((self._height, self._width, 3), np.uint8)
        small = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        canvas[top : top + size[1], left : left + size[0]] = small
        return canvas, Fit(scale, left, top)

    def draw(self, result: FrameResult) -> bool:
        """Add a frame with its tracks; True when it was scaled into the video's size.

        Raises OutputError if it cannot be written.
        """
        canvas, fit = self._canvas(result.frame.image)
        draw_tracks(canvas, result.tracks, fit=fit)
        yuv = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_BGR2YUV_I420), np.uint8)
        picture = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        picture.pts = self._ticks(result.frame)
        picture.time_base = Fraction(1, TICKS)
        self._encode(picture)
        return fit != Fit()

    def _ticks(self, frame: Frame) -> int:
        at = round(frame.pts * TICKS)
        if self._last < 0:
            # The first picture stands from 0 on, so that times agree with the events'.
            self._shift = 0 if 0 <= at <= HELD_SECONDS * TICKS else -at
            ticks = 0
        elif frame.still:
            ticks = self._last + round(STILL_SECONDS * TICKS)
        else:
            if at + self._shift <= self._last:
                # The source's clock went back or stood still: go on from where we are.
                self._shift = self._last + self._step - at
            ticks = at + self._shift
        if self._last >= 0:
            self._step = min(ticks - self._last, TICKS)
        self._last = ticks
        return ticks

    def _encode(self, picture: av.VideoFrame | None) -> None:
        before = self._raw.tell()
        try:
            self._file.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            self.broken = True
            raise self._failure(error) from error
        # The frame with which a fragment is written is the first one of the next.
        self._unwritten = 1 if self._raw.tell() > before else self._unwritten + 1

    def _failure(self, error: BaseException) -> OutputError:
        return OutputError(f"cannot write {self.path}: {_reason(error)}", lost=self._unwritten)

    def close(self) -> None:
        """Finish the file; it plays as it is, see also `index_in_front`.

        Raises OutputError if the last frames cannot be written.
        """
        try:
            if not self.broken:
                self._encode(None)
        finally:
            try:
                self._file.close()
            except (av.FFmpegError, OSError) as error:
                if not self.broken:
                    self.broken = True
                    raise self._failure(error) from error
                log.debug("%s was not finished: %s", self.path, _reason(error))
            finally:
                self._raw.close()


def _video_size(shape: tuple[int, int]) -> tuple[int, int]:
    height, width = shape
    long, short = max(height, width), min(height, width)
    scale = min(LARGEST[0] / long, LARGEST[1] / short, 1.0)
    if scale < 1:
        height, width = int(height * scale), int(width * scale)
    return max(height + height % 2, 2), max(width + width % 2, 2)


def cut_to_fragments(path: Path) -> bool:
    """Cut a file that was given up to its whole fragments, so that it plays to its end.

    Without any it is deleted. Returns True when it is left.
    """
    end = 0
    try:
        with path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            for kind, after in _boxes(file, size):
                end = after if kind == b"mdat" else end
            if end:
                file.truncate(end)
        if not end:
            path.unlink()
    except OSError as error:
        log.debug("%s stays as it is: %s", path, error)
    return end > 0


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """The kind of each whole top-level box of an MP4, and where it ends."""
    at = 0
    while at + _BOX.size <= size:
        file.seek(at)
        length, kind = _BOX.unpack(file.read(_BOX.size))
        at += length
        # Fragments are smaller than the 4 GB from which on a length is elsewhere.
        if length < _BOX.size or at > size:
            return
        yield kind, at


def index_in_front(path: Path) -> None:
    """Rewrite a fragmented MP4 as one that plays at once anywhere; no picture is coded again."""
    part = part_of(path)
    try:
        with (
            av.open(str(path)) as old,
            WholeFile(part, "w", opener=private) as raw,
            av.open(raw, "w", format="mp4", options={"movflags": "faststart"}) as new,
        ):
            stream = old.streams.video[0]
            copy = new.add_stream_from_template(stream)
            for packet in old.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    new.mux(packet)
        part.replace(path)
    except (av.FFmpegError, OSError) as error:
        # The fragmented file is complete and plays; only some players seek in it badly.
        part.unlink(missing_ok=True)
        log.warning("%s stays a fragmented MP4: %s", path, _reason(error))


def _reason(error: BaseException) -> str:
    # What went wrong came first; that the file cannot be closed either has less to say.
    while isinstance(error.__context__, (av.FFmpegError, OSError)):
        error = error.__context__
    return getattr(error, "strerror", None) or str(error)
