"""Which pictures of the zips can be used: found out once, before a run, not in the midst of it."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .cache import cached_rows
from .face_sets import SIDE, FaceRow, FaceZips, sha256_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A listed picture that cannot be trained on, and why."""

    row: FaceRow
    reason: str


def find_unusable(
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    cache: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Unusable]:
    """The rows whose pictures are missing, damaged or of the wrong size.

    Every picture is decoded once; the result is kept in ``cache`` with the zip's checksum.

    Args:
        rows: N ≥ 1 rows to check.

    Raises:
        DataError: a whole zip is missing or damaged.
    """
    with FaceZips(folder) as zips:
        for name in dict.fromkeys(row.dataset for row in rows):
            zips.open(name)

        def check(missing: Sequence[FaceRow]) -> NDArray[Any]:
            reasons = []
            for row in missing:
                reasons.append(_fault(zips, row))
                progress(1)
            return np.array(reasons)

        reasons = cached_rows(
            rows,
            check,
            file=lambda name: cache / f"readable_{name}.npz",
            key=lambda name: sha256_of(folder / f"{name}.zip"),
        )
    found = [Unusable(row, str(why)) for row, why in zip(rows, reasons, strict=True) if why]
    if found:
        first = "; ".join(item.reason for item in found[:3])
        log.warning(
            "%d of %d pictures cannot be used and are left out: %s%s",
            len(found), len(rows), first, "; …" if len(found) > 3 else "",
        )  # fmt: skip
    return found


def write_unusable(path: Path, unusable: Iterable[Unusable]) -> None:
    """The list as csv: dataset, member, reason. An empty list leaves no file."""
    items = list(unusable)
    if not items:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "member", "reason"])
        writer.writerows([i.row.dataset, i.row.member, i.reason] for i in items)


def _fault(zips: FaceZips, row: FaceRow) -> str:
    """What is wrong with a picture; empty where nothing is."""
    try:
        height, width = zips.read(row).shape[:2]
    except DataError as error:
        return str(error)
    if (height, width) == (SIDE, SIDE):
        return ""
    return f"{row.dataset}.zip: {row.member} is {width}×{height}, not {SIDE}×{SIDE}"
