"""The memory-mapped file of vectors: changed in place, cut off, damaged, erased."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.errors import IndexFileError
from facestream.engines.index.cores import Vectors
from facestream.engines.index.rowfile import RowFile, read_rows, write_rows


def vectors(n: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)


def made(path: Path, n: int = 5000, room: int = 100) -> RowFile:
    write_rows(path, np.arange(10, 10 + n), np.arange(1, 1 + n), vectors(n), tag="first", room=room)
    return read_rows(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    rows = made(tmp_path / "x")
    assert (len(rows), rows.dim, rows.tag) == (5000, 16, "first")
    np.testing.assert_array_equal(rows.vectors, vectors(5000))
    np.testing.assert_array_equal(rows.ids, np.arange(10, 5010))
    np.testing.assert_array_equal(rows.labels, np.arange(1, 5001))
    assert not rows.vectors.flags.writeable
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    write_rows(tmp_path / "y", rows.ids[:0], rows.labels[:0], rows.vectors[:0], tag="")
    assert len(read_rows(tmp_path / "y")) == 0


def test_appended_in_place_while_another_has_it_mapped(tmp_path: Path) -> None:
    mine, theirs = made(tmp_path / "x"), read_rows(tmp_path / "x")
    new = vectors(60, 1)
    ids, labels = np.arange(9000, 9060), np.arange(1, 61)
    assert mine.append(ids, labels, new, tag="second")
    assert not mine.append(ids, labels, new, tag="third")  # no room
    np.testing.assert_array_equal(mine.vectors[5000:], new)
    again = read_rows(tmp_path / "x")
    assert (again.tag, len(again), again.uid) == ("second", 5060, theirs.uid)
    np.testing.assert_array_equal(again.vectors, np.concatenate([vectors(5000), new]))
    np.testing.assert_array_equal(again.ids[5000:], ids)
    assert len(theirs) == 5000


def test_erased_rows_are_gone_from_the_file_and_from_who_has_it_mapped(tmp_path: Path) -> None:
    mine, theirs = made(tmp_path / "x"), read_rows(tmp_path / "x")
    gone = vectors(5000)[4500]
    assert gone.tobytes() in (tmp_path / "x").read_bytes()
    assert mine.erase(np.array([4510, 12, 777777]), tag="second") == 2
    assert gone.tobytes() not in (tmp_path / "x").read_bytes()
    assert (theirs.vectors[4500] == 0).all()
    again = read_rows(tmp_path / "x")
    assert again.tag == "second"
    assert np.flatnonzero(again.labels == 0).tolist() == [2, 4500]
    assert not again.vectors[[2, 4500]].any()
    np.testing.assert_array_equal(again.vectors[4501:], vectors(5000)[4501:])


def test_a_change_that_was_cut_off_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made(tmp_path / "x")
    written: list[int] = []
    pwrite = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        written.append(offset)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        return pwrite(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        rows.append(np.arange(3), np.arange(1, 4), vectors(3), tag="second")
    assert read_rows(tmp_path / "x").tag == ""


@pytest.mark.parametrize("place", [0, 30, 4096, 4096 + 8 * 5100 + 5, -400])
def test_a_byte_that_changed(tmp_path: Path, place: int) -> None:
    rows = made(tmp_path / "x", room=0)
    content = bytearray((tmp_path / "x").read_bytes())
    content[place] ^= 1
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IndexFileError, match="'x'"):
        read_rows(tmp_path / "x")
    del rows


def test_a_checksum_made_anew_does_not_hide_damage(tmp_path: Path) -> None:
    made(tmp_path / "x", room=0)
    content = bytearray((tmp_path / "x").read_bytes())
    content[-1] ^= 1  # the last row, in the second block
    (tmp_path / "x").write_bytes(content)
    rows = read_rows(tmp_path / "x", checked="header")
    with pytest.raises(IndexFileError, match="block 1"):
        rows.erase(np.array([5008]), tag="second")
    rows.erase(np.array([10]), tag="second")  # in the first


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000, b"0" * 4096])
def test_files_of_something_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IndexFileError, match="cannot be used"):
        read_rows(tmp_path / "x")


@pytest.mark.parametrize("keep", [0.2, 0.999])
def test_a_file_that_was_cut_off(tmp_path: Path, keep: float) -> None:
    made(tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(IndexFileError, match="bytes rather than"):
        read_rows(tmp_path / "x")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    made(tmp_path / "x")
    with pytest.raises(FileExistsError):
        made(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        read_rows(tmp_path / "y")
