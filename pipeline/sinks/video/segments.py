"""Annotated video of live sources: a file for every few minutes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ...core.events import Event, SourceStateEvent
from ...core.filenames import slug, with_parts
from ...core.types import FrameResult
from ..base import Needs, Sink
from ..files import OutputNames, remove, stamped_files, unused, utc_stamp
from .mp4 import Mp4Writer, check_video, index_in_front

log = logging.getLogger(__name__)

GAP_SECONDS = 5.0
"""A segment ends when its source is silent, or was lost, for so long."""
_LOST = ("retrying", "paused", "failed")


@dataclass(slots=True)
class _Open:
    """A segment that is being written."""

    writer: Mp4Writer
    shape: tuple[int, ...]
    began: float
    last: float


@dataclass(slots=True)
class _Camera:
    """A source: its open segment, since when it is lost, its files and those of earlier runs."""

    label: str
    earlier: list[Path]
    lost: float | None = None
    segment: _Open | None = None
    files: list[Path] = field(default_factory=list)


class SegmentsSink(Sink):
    """Writes ``<stem>-<source>-<utc time>.mp4`` for each source, a new one every few minutes.

    A segment also ends when the size of the picture changes or the source is lost. Each is
    complete when it is closed, and playable while it is written. Another thread rewrites it then
    with its index in front.

    Args:
        path: ends in ``.mp4``; gives the folder and the stem.
        minutes: longest time in a file.
        keep: files kept of each source; None keeps all. Those of earlier runs count, too: what has
            exactly such a name with the same stem and source.
        clock: monotonic, in seconds.

    Raises:
        OutputError: the file cannot be written.
    """

    needs: Needs = "all"

    def __init__(
        self,
        path: Path,
        *,
        minutes: float = 10.0,
        keep: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_video(path)
        self._path = path
        self._names = OutputNames("keep")
        self._seconds = 60 * minutes
        self._keep = keep
        self._clock = clock
        self._cameras: dict[str, _Camera] = {}
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="segments")

    @property
    def paths(self) -> list[Path]:
        """The files of this run that are kept."""
        return [path for camera in self._cameras.values() for path in camera.files]

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        self.end_lost()
        camera = self._camera(frame.source)
        now, shape = frame.captured_at, frame.image.shape[:2]
        segment = camera.segment
        if segment is not None and (
            shape != segment.shape
            or now - segment.last > GAP_SECONDS
            or now - segment.began >= self._seconds
        ):
            self._end(camera)
        if camera.segment is None:
            path = self._names.unused(with_parts(self._path, camera.label, utc_stamp(frame.utc)))
            camera.segment = _Open(Mp4Writer(path, (shape[0], shape[1])), shape, now, now)
            camera.files.append(path)
            self._remove_oldest(camera)
        camera.segment.writer.draw(result)
        camera.segment.last = now

    def event(self, event: Event) -> None:
        # What a source says of itself overtakes its last frames: they still belong to the
        # segment, which ends when the source is back or stays away.
        if isinstance(event, SourceStateEvent):
            camera = self._camera(event.source)
            if event.state in _LOST:
                camera.lost = self._clock() if camera.lost is None else camera.lost
            elif event.state == "live" and camera.lost is not None:
                camera.lost = None
                self._end(camera)
        self.end_lost()

    def end_lost(self) -> None:
        """End the segments of sources that stay away; also called when nothing comes at all."""
        now = self._clock()
        for camera in self._cameras.values():
            if camera.lost is not None and now - camera.lost > GAP_SECONDS:
                self._end(camera)

    def source_ended(self, source: str) -> None:
        self._end(self._camera(source))

    def close(self) -> None:
        # Every file is finished, also when one of them cannot be.
        with ExitStack() as stack:
            stack.callback(self._finisher.shutdown)
            for camera in self._cameras.values():
                stack.callback(self._end, camera)

    def _camera(self, source: str) -> _Camera:
        camera = self._cameras.get(source)
        if camera is None:
            label = unused(slug(source), {c.label for c in self._cameras.values()})
            camera = _Camera(label, [] if self._keep is None else self._earlier(label))
            self._cameras[source] = camera
        return camera

    def _end(self, camera: _Camera) -> None:
        segment, camera.segment = camera.segment, None
        if segment is None:
            return
        segment.writer.close()
        if not segment.writer.broken:
            self._finisher.submit(index_in_front, segment.writer.path)

    def _earlier(self, label: str) -> list[Path]:
        """Files of this source that lie there already, the oldest first."""
        try:
            found = [path for *_, path in stamped_files(self._path, label)]
        except OSError as error:
            log.warning("cannot list %s: %s", self._path.parent, error.strerror)
            return []
        return [path for path in found if path.is_file() and not path.is_symlink()]

    def _remove_oldest(self, camera: _Camera) -> None:
        while self._keep is not None and len(camera.earlier) + len(camera.files) > self._keep:
            oldest = (camera.earlier or camera.files).pop(0)
            # After its index was written, which is in the same queue.
            self._finisher.submit(remove, oldest)
