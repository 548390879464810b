"""Which pictures of the zips can be used: found out once, before a run, not in the midst of it."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DataError
from .faces import FaceRow, FaceZips, sha256_of

log = logging.getLogger(__name__)
SIDE: Final = 128


@dataclass(frozen=True, slots=True)
class Unusable:
    """A listed picture that cannot be trained on, and why."""

    row: FaceRow
    reason: str


def sort_out(
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    cache: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Unusable]:
    """The rows whose pictures are missing, damaged or of the wrong size.

    Every picture is decoded once; what was found is kept in ``cache`` with the zip's checksum, so
    that a later call only reads the zips through.

    Args:
        folder: holds the zips.
        rows: what to look at.
        cache: folder of what is known.
        progress: called with the number of pictures just looked at.

    Raises:
        DataError: a whole zip is missing or damaged.
    """
    found: list[Unusable] = []
    zips = FaceZips(folder)
    for name in dict.fromkeys(row.dataset for row in rows):
        members = [row for row in rows if row.dataset == name]
        file = cache / f"readable_{name}.json"
        zips.open(name)
        key = sha256_of(folder / f"{name}.zip")
        known = _read_known(file, key)
        unknown = [row for row in members if row.member not in known]
        if unknown:
            known |= _look(zips, unknown, progress)
            _write_known(file, key, known)
        found += [Unusable(row, known[row.member]) for row in members if known[row.member]]
    zips.close()
    if found:
        first = "; ".join(item.reason for item in found[:3])
        log.warning(
            "%d of %d pictures cannot be used and are left out: %s%s",
            len(found), len(rows), first, "; …" if len(found) > 3 else "",
        )  # fmt: skip
    return found


def write_unusable(path: Path, unusable: Iterable[Unusable]) -> None:
    """The list as csv: set, member, reason. Nothing is written of an empty one."""
    items = list(unusable)
    if not items:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "member", "reason"])
        writer.writerows([i.row.dataset, i.row.member, i.reason] for i in items)


def _look(
    zips: FaceZips, rows: Sequence[FaceRow], progress: Callable[[int], None]
) -> dict[str, str]:
    """By member what is wrong with it, empty where nothing is."""
    known: dict[str, str] = {}
    for count, row in enumerate(rows, start=1):
        known[row.member] = ""
        try:
            height, width = zips.read(row).shape[:2]
        except DataError as error:
            known[row.member] = str(error)
        else:
            if (height, width) != (SIDE, SIDE):
                known[row.member] = (
                    f"{row.dataset}.zip: {row.member} is {width}×{height}, not {SIDE}×{SIDE}"
                )
        if count % 64 == 0 or count == len(rows):
            progress((count - 1) % 64 + 1)
    return known


def _read_known(file: Path, key: str) -> dict[str, str]:
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        if saved["zip_sha256"] != key:
            log.info("%s was made of another zip; looking again", file.name)
            return {}
        return {str(member): str(reason) for member, reason in saved["members"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.info("%s is damaged (%s); looking again", file.name, error)
        return {}


def _write_known(file: Path, key: str, known: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    partial.write_text(json.dumps({"zip_sha256": key, "members": known}), encoding="utf-8")
    partial.replace(file)
