"""The best picture of each sighting as a JPEG file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..core.events import Event, Left
from ..core.filenames import slug
from .base import Sink
from .files import OutputNames, check_room, make_folder, utc_stamp, write_jpeg


class PicturesSink(Sink):
    """Saves the picture that a sighting carries, and puts the file's path into the event.

    The picture is on disk before any sink gets the event that names it.

    Args:
        folder: created where it is missing; files are ``<source>-<track>-<name>.jpg``
            (the last part of the source's name, without its suffix).
        relative_to: folder the path in the event is relative to, usually that of the events
            file; None writes it as ``folder`` is given.
        earlier: ``replace`` may replace pictures of an earlier run; ``keep`` makes the time (UTC)
            at which the sighting began a part of the name.

    Raises:
        OutputError: the folder cannot be written.

    Attributes:
        folder: see above.
        replaces: ``earlier`` is ``replace``.
    """

    output = "pictures"

    def __init__(
        self,
        folder: Path,
        *,
        relative_to: Path | None = None,
        earlier: Literal["replace", "keep"] = "replace",
    ) -> None:
        self.folder = make_folder(folder)
        self._base = relative_to
        self.replaces = earlier == "replace"
        self._names = OutputNames(earlier)
        self._older = {one.name for one in folder.glob("*.jpg")} if self.replaces else set()

    @property
    def older(self) -> int:
        """Pictures of earlier runs that this one did not replace; 0 where it replaces none."""
        return len(self._older)

    def check(self) -> bool:
        make_folder(self.folder)
        check_room(self.folder)
        return True

    def enrich(self, event: Event) -> Event:
        if not isinstance(event, Left) or event.image is None:
            return event
        parts = [slug(Path(event.source).stem), f"{event.track_id:04d}", slug(event.name)]
        if not self.replaces and event.start.utc is not None:
            parts.insert(1, utc_stamp(event.start.utc.timestamp()))
        path = self._names.unused(self.folder / f"{'-'.join(parts)}.jpg")
        write_jpeg(path, event.image)
        self._older.discard(path.name)
        if self._base is not None:
            path = Path(os.path.relpath(path, self._base))
        return event.with_picture(path.as_posix())
