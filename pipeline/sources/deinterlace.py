"""Interlaced video: the two half pictures (fields) of a frame are of different times.

Where something moves they make combs, which cost detections. FFmpeg's bwdif makes whole pictures of
them, one per frame. Progressive frames pass as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.filter import Graph, filters_available
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from .convert import PLANES

log = logging.getLogger(__name__)

Order = Literal["tff", "bff"]
"""Which field is the earlier one: top or bottom field first."""

# Share of pixels in combs. Measured where much moves: 0.01 to 0.4 in interlaced video, below
# 0.0006 in progressive video.
_COMBED = 0.005
_STEP = 10  # difference in brightness that counts


class Deinterlacer:
    """Takes decoded frames in order and gives as many; keeps one back where it works.

    Args:
        time_base: of the frames.
        search: look for combs, as in files whose encoder did not mark the frames.

    Attributes:
        active: interlaced frames were found; everything goes through the filter from then on.
    """

    def __init__(self, time_base: Fraction, *, search: bool) -> None:
        self.active = False
        self._time_base = time_base
        self._usable = "bwdif" in filters_available
        self._combs = _CombSearch() if search and self._usable else None
        self._filter = _Bwdif(time_base, None)

    def filter(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """The frames that are complete now."""
        for frame in frames:
            if not self.active and self._usable:
                self._look(frame)
            if not self.active:
                yield frame
                continue
            try:
                yield from self._filter.push(frame)
            except av.error.FFmpegError as error:  # a size that the filter does not take
                log.debug("not deinterlaced: %s", error)
                self.active = self._usable = False
                yield frame

    def flush(self) -> Iterator[VideoFrame]:
        """The frames that were kept back."""
        if self.active:
            yield from self._filter.flush()

    def _look(self, frame: VideoFrame) -> None:
        if frame.interlaced_frame:
            self.active = True
        elif self._combs is not None:
            order = self._combs.add(frame)
            if order is not None:
                self.active, self._filter = True, _Bwdif(self._time_base, order)
            if order is not None or self._combs.ended:
                self._combs = None
        if self.active:
            log.debug("the video is interlaced and will be deinterlaced")


class _CombSearch:
    """Looks for combs in pairs of frames; below 0.2 ms a frame at 1080p.

    Attributes:
        ended: nothing was found in so many frames.
    """

    def __init__(self) -> None:
        self.ended = False
        self._number = 0
        self._first: NDArray[np.int16] | None = None
        self._hits = 0
        self._later = 0.0  # evidence that the top field is the earlier one

    def add(self, frame: VideoFrame) -> Order | None:
        """The order of the fields once combs were found twice."""
        number, self._number = self._number, self._number + 1
        self.ended = number > 2500
        phase = number % (4 if number < 80 else 50)
        if phase > 1:
            return None
        first, self._first = self._first, _brightness(frame)
        if phase == 0 or first is None or self._first is None or first.shape != self._first.shape:
            return None
        found = _combs(first, self._first)
        if found is None:
            return None
        self._hits += 1
        self._later += found
        if self._hits < 2:
            return None
        return "tff" if self._later > 0 else "bff"


def _brightness(frame: VideoFrame) -> NDArray[np.int16] | None:
    """Some 160 columns of a frame, 0..255; None where a plane does not hold brightness alone."""
    name = frame.format.name
    if not name.startswith(("yuv4", "yuvj4", "nv12", "p010", "gray")) or frame.height < 8:
        return None
    plane: Any = frame.planes[0]
    bits = frame.format.components[0].bits
    numbers: NDArray[Any] = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)
    rows = numbers.reshape(-1, plane.line_size // numbers.itemsize)
    some = rows[: frame.height, : frame.width : max(4, frame.width // 160)]
    shift = 8 if name == "p010le" else bits - 8
    return np.asarray(some >> shift, np.int16)


def _combs(first: NDArray[np.int16], second: NDArray[np.int16]) -> float | None:
    """None without combs; else how much better the frames fit with the top field first."""
    moved = np.abs(first - second) > _STEP
    share = _combed_share(first, moved)
    if share < _COMBED:
        return None
    # The fields that follow each other make the smaller combs: of this frame and the next one.
    top_next, bottom_next = first.copy(), first.copy()
    top_next[0::2], bottom_next[1::2] = second[0::2], second[1::2]
    if_top, if_bottom = _combed_share(top_next, moved), _combed_share(bottom_next, moved)
    # In progressive video such a mixture is worse by far than the frame itself.
    return if_bottom - if_top if share > 0.5 * min(if_top, if_bottom) else None


def _combed_share(image: NDArray[np.int16], moved: NDArray[np.bool_]) -> float:
    """Share of the pixels that moved and lie in a line up, down, up of brightness."""
    step = np.diff(image, axis=0)
    large = np.abs(step) > _STEP
    turns = ((step[:-1] ^ step[1:]) < 0) & large[:-1] & large[1:]
    return float((turns[:-1] & turns[1:] & moved[1:-2]).mean())


class _Bwdif:
    """The filter for frames of any size and format, one after another.

    Args:
        time_base: of the frames.
        order: of the fields of every frame; None: only frames that are marked are changed.
    """

    def __init__(self, time_base: Fraction, order: Order | None) -> None:
        self._time_base = time_base
        self._order = order
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """The frames that are complete now; those of an earlier size first."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
        if self._graph is None:
            self._graph, self._shape = self._made(frame), shape
        self._graph.vpush(frame)
        yield from self._pull(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        graph, self._graph, self._shape = self._graph, None, None
        if graph is not None:
            graph.vpush(None)
            yield from self._pull(graph)

    def _made(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        nodes = [
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=self._time_base,
            )
        ]
        if planes := PLANES.get(frame.format.name):
            nodes.append(graph.add("format", planes))
        if self._order is not None:
            nodes.append(graph.add("setfield", self._order))
        nodes += [graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph

    def _pull(self, graph: Graph) -> Iterator[VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The filter counts in halves.
            if frame.pts is not None and frame.time_base:
                frame.pts = round(frame.pts * frame.time_base / self._time_base)
            yield frame
