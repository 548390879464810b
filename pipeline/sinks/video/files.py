"""Annotated video: H.264 in MP4, one file per source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...core.errors import OutputError
from ...core.types import FrameResult
from ..base import Needs, Sink
from ..files import check_writable, slug, unused
from .mp4 import Mp4Writer, index_in_front


class VideoSink(Sink):
    """Draws what was found on each frame and writes it as MP4.

    While it runs the file is fragmented, so an interruption of any kind leaves what was written
    playable; `close` and `source_ended` rewrite it with its index in front (without encoding
    again), as browsers like it. Times are those of the source, also where its rate varies. A
    frame of another size than the first is scaled to fit, with black bars.

    Args:
        path: ends in ``.mp4``.
        naming: ``single`` writes the one source to ``path``; ``per_source`` writes
            ``<stem>-<source>.mp4`` beside it for each.

    Raises:
        OutputError: the file cannot be written.
    """

    needs: Needs = "all"

    def __init__(self, path: Path, *, naming: Literal["single", "per_source"] = "single") -> None:
        if path.suffix.lower() not in (".mp4", ".m4v"):
            raise OutputError(f"cannot write {path}: the annotated video must end in .mp4")
        self._path = path
        self._naming = naming
        check_writable(path)
        self._writers: dict[str, Mp4Writer] = {}
        self._paths: dict[str, Path] = {}

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each source that had a frame so far."""
        return dict(self._paths)

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        writer = self._writers.get(frame.source)
        if writer is None:
            path = self._paths.setdefault(frame.source, self._path_for(frame.source))
            writer = self._writers[frame.source] = Mp4Writer(path, frame.image.shape[:2])
        writer.draw(result)

    def source_ended(self, source: str) -> None:
        writer = self._writers.pop(source, None)
        if writer is not None:
            writer.close()
            if not writer.broken:
                index_in_front(writer.path)

    def close(self) -> None:
        # Every file is finished, also when one of them cannot be.
        problem: OutputError | None = None
        for source in list(self._writers):
            try:
                self.source_ended(source)
            except OutputError as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _path_for(self, source: str) -> Path:
        if self._naming == "single":
            if self._paths:
                raise OutputError(
                    f"{self._path} is for one source, but '{source}' came too; "
                    "use naming='per_source'"
                )
            return self._path
        stem = f"{self._path.stem}-{slug(Path(source).stem)}"
        path = self._path.with_stem(unused(stem, {used.stem for used in self._paths.values()}))
        check_writable(path)
        return path
