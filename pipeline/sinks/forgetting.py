"""Takes what was forgotten out of outputs of earlier runs: events, and pictures of sightings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from facestream.engines.files import erase
from facestream.engines.private_files import private

from ..core.errors import OutputError
from ..core.filenames import part_of, slug
from ..sightings.forget import Forgotten
from ..storage.names import name_key
from .locks import OutputLock

_ZEROS = bytes(1 << 20)


def forget_in_events(file: Path, gone: Forgotten) -> dict[str, int]:
    """Rewrite a file of events without those of the sightings and the person that are forgotten.

    It is replaced as a whole, and the former content is overwritten. Pictures of these events, in
    the file's folder, are erased.

    Returns:
        Numbers of ``events`` and ``pictures`` that are gone, and of events that were ``changed``,
        because they named the person as a candidate.

    Raises:
        OutputError: a run writes it at the moment, or it cannot be read or written.
    """
    counts = {"events": 0, "changed": 0, "pictures": 0}
    part = part_of(file)
    pictures: list[Path] = []
    with OutputLock(file):
        try:
            with file.open("r+b") as old:
                if os.fstat(old.fileno()).st_nlink > 1:
                    raise OutputError(f"{file} has several names (hard links); remove the others")
                with open(part, "wb", opener=private) as new:
                    for line in old:
                        kept = _without(line, gone, file.parent, counts, pictures)
                        if kept is not None:
                            new.write(kept)
                    new.flush()
                    os.fsync(new.fileno())
                if counts["events"] or counts["changed"]:
                    part.replace(file)
                    _overwrite(old)
        except OSError as error:
            raise OutputError(f"cannot rewrite {file}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
    counts["pictures"] = _erase_all(pictures)
    return counts


def forget_pictures(folder: Path, gone: Forgotten) -> dict[str, int]:
    """Erase the pictures of a folder whose file names have the person's name.

    Returns:
        The number of ``pictures``.

    Raises:
        OutputError: one cannot be erased, or there is no such folder.
    """
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder}")
    if gone.name is None:
        return {"pictures": 0}
    named = re.compile(rf".*-{re.escape(slug(gone.name))}(-\d+)?\.jpg", re.DOTALL | re.IGNORECASE)
    return {"pictures": _erase_all([one for one in folder.iterdir() if named.fullmatch(one.name)])}


def _without(
    line: bytes, gone: Forgotten, folder: Path, counts: dict[str, int], pictures: list[Path]
) -> bytes | None:
    """A line of the file as it stays; None where it goes."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict):
        return line
    if event.get("sighting") in gone.sightings or _is_person(event, gone):
        counts["events"] += 1
        pictures.extend(_picture_of(event, folder))
        return None
    candidates = event.get("candidates")
    if not isinstance(candidates, Sequence):
        return line
    others = [one for one in candidates if not (isinstance(one, dict) and _is_person(one, gone))]
    if len(others) == len(candidates):
        return line
    counts["changed"] += 1
    text = json.dumps({**event, "candidates": others}, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _is_person(record: dict[str, Any], gone: Forgotten) -> bool:
    name = record.get("name")
    return gone.name is not None and isinstance(name, str) and name_key(name) == name_key(gone.name)


def _picture_of(event: dict[str, Any], folder: Path) -> Iterator[Path]:
    name = event.get("picture")
    if isinstance(name, str) and name:
        place = Path(os.path.realpath(folder / name))
        if place.is_relative_to(os.path.realpath(folder)):
            yield place


def _erase_all(pictures: Sequence[Path]) -> int:
    count = 0
    for path in pictures:
        try:
            with suppress(FileNotFoundError):
                erase(path)
                count += 1
        except OSError as error:
            raise OutputError(f"cannot erase {path}: {error.strerror}") from error
    return count


def _overwrite(file: IO[bytes]) -> None:
    left = os.fstat(file.fileno()).st_size
    file.seek(0)
    while left > 0:
        left -= file.write(_ZEROS[: min(left, len(_ZEROS))])
    file.flush()
    os.fsync(file.fileno())
