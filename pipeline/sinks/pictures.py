"""The best picture of each sighting as a JPEG file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import cv2

from ..core.errors import OutputError
from ..core.events import Event, Left
from ..core.types import FrameResult, Image
from ..metrics import Metrics
from .base import Sink
from .files import make_folder, slug, unused


class PicturesSink(Sink):
    """Saves the picture a sighting carries, then hands the sighting on with the file's path.

    The picture is on disk before any inner sink writes an event that names it.

    Args:
        folder: created where it is missing; files are ``<source>-<track>-<name>.jpg``
            (the last part of the source's name, without its suffix).
        then: sinks that get every frame and every (amended) sighting; closed with this one.
        relative_to: folder the path in the event is relative to, usually that of the events
            file; None writes it as ``folder`` is given.
        earlier: ``replace`` may replace pictures of an earlier run; ``keep`` makes the time (UTC)
            at which the sighting began a part of the name.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        then: Sequence[Sink] = (),
        relative_to: Path | None = None,
        earlier: Literal["replace", "keep"] = "replace",
    ) -> None:
        self._folder = make_folder(folder)
        self._then = tuple(then)
        self._base = relative_to
        self._earlier = earlier
        self.needs = "all" if any(sink.needs == "all" for sink in then) else "searched"

    def count_in(self, metrics: Metrics) -> None:
        for sink in self._then:
            sink.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        for sink in self._then:
            sink.write(result)

    def event(self, event: Event) -> None:
        if isinstance(event, Left) and event.image is not None:
            event = event.with_picture(self._save(event, event.image))
        for sink in self._then:
            sink.event(event)

    def source_ended(self, source: str) -> None:
        for sink in self._then:
            sink.source_ended(source)

    def close(self) -> None:
        # Each is closed, also when another one cannot be.
        with ExitStack() as stack:
            for sink in self._then:
                stack.callback(sink.close)

    def _save(self, event: Left, image: Image) -> str:
        parts = [slug(Path(event.source).stem), f"{event.track_id:04d}", slug(event.name)]
        if self._earlier == "keep":
            parts.insert(1, f"{event.start.utc:%Y-%m-%dT%H-%M-%S}")
        path = self._folder / f"{'-'.join(parts)}.jpg"
        if self._earlier == "keep" and path.exists():  # of a run that began in the same second
            there = {file.stem for file in self._folder.glob(f"{path.stem}*.jpg")}
            path = path.with_stem(unused(path.stem, there))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        part = path.with_suffix(".part")
        try:
            part.write_bytes(data.tobytes())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        return (
            path.as_posix()
            if self._base is None
            else Path(os.path.relpath(path, self._base)).as_posix()
        )
