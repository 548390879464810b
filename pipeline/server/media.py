"""Files of this machine that requests may name: those in ``server.media_folders``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .problems import RequestRefused


def allowed_file(name: str, folders: Sequence[Path], *, exists: bool) -> Path:
    """The file that a request names, within one of the folders.

    Args:
        name: ``FOLDER/…/FILE``, where FOLDER is the last part of an allowed folder.
        folders: of the setting.
        exists: it must be there; else its folder must.

    Raises:
        RequestRefused: 422, the name leads out of the folders, or over a link; 404.
    """
    parts = name.split("/")
    if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise RequestRefused(422, "name a file as FOLDER/FILE, without '..'")
    for folder in folders:
        if folder.name != parts[0] or len(parts) < 2:
            continue
        root = folder.resolve()
        path = root.joinpath(*parts[1:])
        # A link may lead anywhere, also one that is made later by who may write there.
        steps = [root.joinpath(*parts[1 : count + 1]) for count in range(1, len(parts))]
        if any(step.is_symlink() for step in steps):
            raise RequestRefused(422, "links are not followed")
        if exists and not path.is_file():
            raise RequestRefused(404, "there is no such file")
        if not exists and not path.parent.is_dir():
            raise RequestRefused(404, "there is no such folder")
        return path
    raise RequestRefused(404, "there is no such folder among server.media_folders")
