"""Annotated video of live sources: a file for every few minutes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import OutputError
from ...core.events import Event, SourceStateEvent
from ...core.filenames import slug, with_parts
from ...core.types import Frame, FrameResult
from ...metrics.families import OUTPUT_SCALED
from ...metrics.store import Metrics
from ..base import Needs, Sink
from ..files import OutputNames, check_room, remove, stamped_files, unused, utc_stamp
from .mp4 import Mp4Writer, check_video, cut_to_fragments, index_in_front

log = logging.getLogger(__name__)

GAP_SECONDS = 5.0
"""A segment ends when its source is silent, or was lost, for so long. Of a slow camera: for three
of its intervals."""
LEAST_SECONDS = 10.0
"""A younger segment goes on when the source comes back or its pictures have another size: a source
that does so all the time does not fill the folder with files."""
STEADY_SECONDS = 2.0
"""Pictures of another size begin a segment once they have had it for so long."""
_LOST = ("retrying", "paused", "failed")


@dataclass(slots=True)
class _Open:
    """A segment that is being written; ``began`` and ``last`` are times of frames, ``opened`` is
    by the sink's clock."""

    writer: Mp4Writer
    shape: tuple[int, ...]
    opened: float
    began: float
    last: float


@dataclass(slots=True)
class _Camera:
    """A source: its open segment, since when it is lost, its files and those of earlier runs, the
    size of its pictures and since when, the last one's time and the time between the last two."""

    label: str
    earlier: list[Path]
    lost: float | None = None
    shape: tuple[int, ...] = ()
    steady: float = 0.0
    last: float | None = None
    interval: float = 0.0
    segment: _Open | None = None
    files: list[Path] = field(default_factory=list)


class SegmentsSink(Sink):
    """Writes ``<stem>-<source>-<utc time>.mp4`` for each source, a new one every few minutes.

    A segment also ends when the size of the picture changes for good or the source is lost, but
    not in its first seconds: until then a frame of another size is scaled into it, with black
    bars, and counted. Each is complete when it is closed, and playable while it is written.
    Another thread rewrites it then with its index in front.

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
    output = "annotate"

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
        self._metrics: Metrics | None = None
        self._cameras: dict[str, _Camera] = {}
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="segments")

    @property
    def paths(self) -> list[Path]:
        """The files of this run that are kept."""
        return [path for camera in self._cameras.values() for path in camera.files]

    def count_in(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        self.end_lost()
        camera = self._camera(frame.source)
        now, shape = frame.captured_at, frame.image.shape[:2]
        if shape != camera.shape:
            camera.shape, camera.steady = shape, now
        if camera.segment is not None and self._is_over(camera, camera.segment, now):
            self._end(camera)
        camera.interval = 0.0 if camera.last is None else now - camera.last
        camera.last = now
        segment = camera.segment or self._begin(camera, frame)
        try:
            scaled = segment.writer.draw(result)
        except OutputError:
            self._end(camera)  # the next attempt writes another file
            raise
        segment.last = now
        if scaled and self._metrics is not None:
            self._metrics.add(OUTPUT_SCALED, source=frame.source, output=self.output)

    def _is_over(self, camera: _Camera, segment: _Open, now: float) -> bool:
        """Whether a frame at this time belongs to another segment."""
        age = now - segment.began
        if age >= self._seconds or now - segment.last > max(GAP_SECONDS, 3 * camera.interval):
            return True
        changed = camera.shape != segment.shape and now - camera.steady >= STEADY_SECONDS
        return changed and age >= LEAST_SECONDS

    def _begin(self, camera: _Camera, frame: Frame) -> _Open:
        path = self._names.unused(with_parts(self._path, camera.label, utc_stamp(frame.utc)))
        try:
            writer = Mp4Writer(path, frame.image.shape[:2])
        except OutputError:
            cut_to_fragments(path)
            raise
        now = frame.captured_at
        camera.segment = _Open(writer, camera.shape, self._clock(), now, now)
        camera.lost = None  # or it would be ended by the next frame
        camera.files.append(path)
        self._remove_oldest(camera)
        return camera.segment

    def event(self, event: Event) -> None:
        # What a source says of itself overtakes its last frames: they still belong to the
        # segment, which ends when the source is back or stays away.
        if isinstance(event, SourceStateEvent):
            camera = self._camera(event.source)
            if event.state in _LOST:
                camera.lost = self._clock() if camera.lost is None else camera.lost
            elif event.state == "live" and camera.lost is not None:
                camera.lost = None
                if camera.segment and self._clock() - camera.segment.opened >= LEAST_SECONDS:
                    self._end(camera)
        self.end_lost()

    def end_lost(self) -> None:
        """End the segments of sources that stay away."""
        now = self._clock()
        self._end_all(
            camera
            for camera in self._cameras.values()
            if camera.lost is not None and now - camera.lost > GAP_SECONDS
        )

    def idle(self) -> None:
        self.end_lost()

    def check(self) -> bool:
        check_room(self._path.parent)
        return False

    def source_ended(self, source: str) -> None:
        self._end(self._camera(source))

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._finisher.shutdown)
            self._end_all(self._cameras.values())

    def _end_all(self, cameras: Iterable[_Camera]) -> None:
        """Every file is finished, also when one of them cannot be."""
        with ExitStack() as stack:
            for camera in cameras:
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
        writer = segment.writer
        try:
            writer.close()
        finally:
            if not writer.broken:
                self._finisher.submit(index_in_front, writer.path)
            elif not cut_to_fragments(writer.path):
                camera.files.remove(writer.path)

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
