"""Results that are kept: computed once, made again where they are damaged or of other data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.training.data.cache import Arrays, cached_arrays, cached_rows, write_arrays
from facestream.training.data.face_sets import FaceRow
from numpy.typing import NDArray

ROWS = [FaceRow(name, f"x/{i}.webp", 99.0, 0.1) for name in ("a", "b") for i in range(3)]


class Lengths:
    """The value of a picture is its number; counts what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key, self.made = folder, "1", 0

    def make(self, rows: Sequence[FaceRow]) -> NDArray[Any]:
        self.made += len(rows)
        assert len({row.dataset for row in rows}) == 1
        return np.array([[float(row.member[2]), len(row.dataset)] for row in rows])

    def of(self, rows: Sequence[FaceRow]) -> NDArray[Any]:
        return cached_rows(
            rows, self.make, file=lambda name: self.folder / f"{name}.npz", key=lambda _: self.key
        )


def test_only_missing_rows_are_made_and_the_order_is_kept(tmp_path: Path) -> None:
    lengths = Lengths(tmp_path)
    assert lengths.of(ROWS[1:2]).tolist() == [[1.0, 1.0]]
    mixed = [ROWS[4], ROWS[0], ROWS[1]]
    assert lengths.of(mixed)[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert lengths.made == 3
    assert lengths.of(mixed)[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert lengths.made == 3


@pytest.mark.parametrize("content", [None, b"", b"damaged", b"PK\x03\x04 cut short"])
def test_other_data_and_damage_are_made_again(tmp_path: Path, content: bytes | None) -> None:
    lengths = Lengths(tmp_path)
    before = lengths.of(ROWS[:3])
    if content is None:
        lengths.key = "2"
    else:
        (tmp_path / "a.npz").write_bytes(content)
    assert np.array_equal(lengths.of(ROWS[:3]), before)
    assert lengths.made == 6


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They called their values ``targets`` or ``turns``."""
    members = [row.member for row in ROWS[:3]]
    write_arrays(tmp_path / "a.npz", {"key": "1", "members": members, "turns": np.arange(3.0)})
    lengths = Lengths(tmp_path)
    assert lengths.of(ROWS[:3]).tolist() == [0.0, 1.0, 2.0]
    assert lengths.made == 0


def test_arrays_are_made_once_and_without_a_file_each_time(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> Arrays:
        calls.append(1)
        return {"a": np.arange(3), "b": np.array(["x"])}

    for file in (tmp_path / "new/file.npz", tmp_path / "new/file.npz", None):
        arrays = cached_arrays(file, make)
        assert arrays["a"].tolist() == [0, 1, 2]
        assert arrays["b"].tolist() == ["x"]
    assert len(calls) == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.npz"]
