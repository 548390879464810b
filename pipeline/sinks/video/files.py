"""Annotated video: H.264 in MP4, one file per source."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from ...core.errors import OutputError
from ...core.filenames import slug, with_parts
from ...core.types import FrameResult
from ...metrics.families import OUTPUT_SCALED
from ...metrics.store import Metrics
from ..base import Needs, Sink
from ..files import OutputNames, check_room, check_writable
from .mp4 import Mp4Writer, check_video, cut_to_fragments, index_in_front


class VideoSink(Sink):
    """Draws what was found on each frame and writes it as MP4.

    While it runs the file is fragmented, so an interruption of any kind leaves what was written
    playable; `close` and `source_ended` rewrite it with its index in front (without encoding
    again), as browsers like it. Times are those of the source, also where its rate varies. A
    frame of another size than the first is scaled to fit, with black bars.

    A source that comes again after its end gets another file.

    Args:
        path: ends in ``.mp4``.
        naming: ``single`` writes the one source to ``path``; ``per_source`` writes
            ``<stem>-<source>.mp4`` in the same folder for each.
        earlier: ``keep``: a file of an earlier run is not replaced, the new one gets a number.
        avoid: resolved paths that are not written, as those of the run's sources.

    Raises:
        OutputError: the file cannot be written.
    """

    needs: Needs = "all"
    output = "annotate_files"

    def __init__(
        self,
        path: Path,
        *,
        naming: Literal["single", "per_source"] = "single",
        earlier: Literal["replace", "keep"] = "replace",
        avoid: Collection[Path] = (),
    ) -> None:
        check_video(path)
        self._path = path
        self._naming = naming
        self._source: str | None = None
        self._names = OutputNames(earlier, avoid=avoid)
        self._metrics: Metrics | None = None
        self._writers: dict[str, Mp4Writer] = {}
        self.paths: list[Path] = []
        """The files so far, in the order in which they were begun."""

    def count_in(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def check(self) -> bool:
        check_room(self._path.parent)
        return False

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        writer = self._writers.get(frame.source)
        if writer is None:
            path = self._path_for(frame.source)
            writer = self._writers[frame.source] = Mp4Writer(path, frame.image.shape[:2])
            self.paths.append(path)
        try:
            scaled = writer.draw(result)
        except OutputError:
            self._finish(self._writers.pop(frame.source))  # a live run begins another file
            raise
        if scaled and self._metrics is not None:
            self._metrics.add(OUTPUT_SCALED, source=frame.source, output=self.output)

    def source_ended(self, source: str) -> None:
        writer = self._writers.pop(source, None)
        if writer is not None:
            self._finish(writer)

    def _finish(self, writer: Mp4Writer) -> None:
        try:
            writer.close()
        finally:
            if not writer.broken:
                index_in_front(writer.path)
            elif not cut_to_fragments(writer.path):
                self.paths.remove(writer.path)

    def close(self) -> None:
        # Every file is finished, also when one of them cannot be.
        with ExitStack() as stack:
            for source in self._writers:
                stack.callback(self.source_ended, source)

    def _path_for(self, source: str) -> Path:
        path = self._path
        if self._naming == "per_source":
            path = with_parts(path, slug(Path(source).stem))
        elif self._source not in (None, source):
            raise OutputError(
                f"{path} is for one source, but '{source}' came too; use naming='per_source'"
            )
        self._source = source
        path = self._names.unused(path)
        check_writable(path)
        return path
