"""What is computed once and kept between runs: arrays of a file, or a value for each picture.

A file that is damaged, or was made from other data, is computed again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.files import write_atomically
from facestream.pipeline.core.arrays import read_arrays
from numpy.typing import ArrayLike, NDArray

from .face_sets import FaceRow

log = logging.getLogger(__name__)
Arrays = dict[str, NDArray[Any]]


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write an ``.npz`` file in one step."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def cached_arrays(file: Path | None, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of a file, made where there is none; without a file nothing is kept.

    The file's name must change with all that decides what ``make`` returns.
    """
    if file is None:
        return make()
    arrays = _read(file)
    if arrays is None:
        arrays = make()
        write_arrays(file, arrays)
    return arrays


def cached_rows(
    rows: Sequence[FaceRow],
    make: Callable[[Sequence[FaceRow]], NDArray[Any]],
    *,
    file: Callable[[str], Path],
    key: Callable[[str], str],
) -> NDArray[Any]:
    """A value for each picture, N×…; a file for each set, and only missing values are computed.

    Args:
        rows: N ≥ 1 rows of any sets.
        make: values M×… of M rows of one set.
        file: of a set's values, by its name.
        key: of a set, changes with the data that values are made from.
    """
    found: dict[FaceRow, NDArray[Any]] = {}
    for name in dict.fromkeys(row.dataset for row in rows):
        known: dict[str, NDArray[Any]] = {}
        arrays = _read(file(name)) or {}
        if str(arrays.pop("key", "")) == key(name):
            names, values = arrays.pop("members"), next(iter(arrays.values()))
            known = dict(zip(names.tolist(), values, strict=True))
        members = [row for row in rows if row.dataset == name]
        missing = [row for row in members if row.member not in known]
        if missing:
            made = make(missing)
            known |= {row.member: value for row, value in zip(missing, made, strict=True)}
            values = np.stack(list(known.values()))
            table: Arrays = {"key": np.array(key(name)), "members": np.array(list(known))}
            table["values"] = values
            write_arrays(file(name), table)
        found |= {row: known[row.member] for row in members}
    return np.stack([found[row] for row in rows])


def _read(file: Path) -> Arrays | None:
    try:
        return dict(read_arrays(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged (%s) and is made again", file, error)
        return None
