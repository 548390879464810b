"""Vectors in a file that is memory-mapped: read in the time it takes to check it.

A row is an id, a label (whose it is) and a vector. The file has room for more rows, so that a few
can be appended in place, and a row can be erased in place: its label and vector become zeros, in
every process that has the file mapped. ``tag`` says of what state of its source the rows are a
copy; it is empty while the file is being changed, so a change that was cut off is seen.

Layout, little-endian: a header of 4096 bytes (JSON, padded), ids int64, labels int64, checksums
uint32 (CRC-32 of each block of 4096 rows), then the vectors float32 from the next page on.
"""

from __future__ import annotations

import json
import mmap
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import IndexFileError
from .cores import Vectors
from .parts import Ids

MAGIC = "facestream-rows-1"
_PAGE = 4096
_BLOCK = 4096
_NO_LABEL = 0


@dataclass(frozen=True, slots=True)
class _Header:
    """What the first page says."""

    magic: str
    uid: str
    tag: str
    dim: int
    count: int
    capacity: int

    def packed(self) -> bytes:
        """A page: its checksum, then itself."""
        text = json.dumps(asdict(self)).encode()
        page = b"%08x" % zlib.crc32(text) + text
        if len(page) > _PAGE:
            raise ValueError(f"the tag is too long: {len(self.tag)} characters")
        return page.ljust(_PAGE)

    @classmethod
    def unpacked(cls, page: bytes) -> _Header:
        """The header of a page.

        Raises:
            ValueError: it is damaged or of something else.
        """
        text = page[8:].rstrip()
        if page[:8] != b"%08x" % zlib.crc32(text):
            raise ValueError("its header is damaged")
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("magic") != MAGIC:
            raise ValueError("it is of another format")
        return cls(**fields)

    @property
    def blocks(self) -> int:
        return -(-self.capacity // _BLOCK)

    @property
    def start(self) -> int:
        """Where the vectors begin."""
        lists = _PAGE + 16 * self.capacity + 4 * self.blocks
        return -(-lists // _PAGE) * _PAGE

    @property
    def size(self) -> int:
        """Of the file."""
        return self.start + 4 * self.dim * self.capacity


class RowFile:
    """An open file; ``read_rows`` opens, ``write_rows`` makes one.

    For one thread at a time, and one writer among all processes. Rows that were erased have the
    label 0.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path, header: _Header, mapped: mmap.mmap) -> None:
        self.path = path
        self._header = header
        lists = np.frombuffer(mapped, "<i8", 2 * header.capacity, _PAGE)
        self._ids, self._labels = lists[: header.capacity], lists[header.capacity :]
        self._sums = np.frombuffer(mapped, "<u4", header.blocks, _PAGE + 16 * header.capacity)
        self._rows = np.frombuffer(
            mapped, "<f4", header.capacity * header.dim, header.start
        ).reshape(header.capacity, header.dim)

    @property
    def uid(self) -> str:
        """Random; a file in which rows may have moved has another."""
        return self._header.uid

    @property
    def tag(self) -> str:
        """Of what the rows are a copy; empty after a change that was cut off."""
        return self._header.tag

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._header.dim

    def __len__(self) -> int:
        """How many rows there are, erased ones too."""
        return self._header.count

    @property
    def ids(self) -> Ids:
        """N int64, a copy."""
        return self._ids[: len(self)].astype(np.int64)

    @property
    def labels(self) -> Ids:
        """N int64, a copy; 0 where the row was erased."""
        return self._labels[: len(self)].astype(np.int64)

    @property
    def vectors(self) -> Vectors:
        """N×D float32, mapped and read-only; rows that are erased later become zero here."""
        return self._rows[: len(self)]

    def append(self, ids: Ids, labels: Ids, vectors: Vectors, *, tag: str) -> bool:
        """Add rows in place; False, with nothing changed, when there is no room for them.

        Raises:
            IndexFileError: the last block is damaged.
            OSError: the file cannot be written.
        """
        start, end = len(self), len(self) + len(ids)
        if end > self._header.capacity:
            return False
        self.check(start // _BLOCK, start // _BLOCK + 1)
        with self._changing(tag, end) as file:
            self._put(file, _PAGE + 8 * start, ids.astype("<i8"))
            self._put(file, _PAGE + 8 * (self._header.capacity + start), labels.astype("<i8"))
            self._put(
                file, self._header.start + 4 * self.dim * start, vectors.astype("<f4", copy=False)
            )
            self._seal(file, range(start // _BLOCK, -(-end // _BLOCK)), end)
        return True

    def erase(self, ids: Ids, *, tag: str) -> int:
        """Overwrite the rows of these ids with zeros; returns how many there were.

        Raises:
            IndexFileError: a block that has such a row is damaged.
            OSError: the file cannot be written.
        """
        rows = np.flatnonzero(np.isin(self._ids[: len(self)], ids))
        touched = np.unique(rows // _BLOCK).tolist()
        for block in touched:  # a checksum made anew must not hide damage
            self.check(block, block + 1)
        zeros = np.zeros(self.dim, "<f4")
        with self._changing(tag, len(self)) as file:
            for row in rows.tolist():
                self._put(file, self._header.start + 4 * self.dim * row, zeros)
                at = _PAGE + 8 * (self._header.capacity + row)
                self._put(file, at, np.array([_NO_LABEL], "<i8"))
            self._seal(file, touched, len(self))
        return len(rows)

    def check(self, first: int = 0, last: int | None = None) -> None:
        """Compare blocks of rows with their checksums; all take 0.13 s a 512 MB from memory.

        Raises:
            IndexFileError: they differ.
        """
        blocks = -(-len(self) // _BLOCK)
        for block in range(first, blocks if last is None else min(last, blocks)):
            if self._sum(block, len(self)) != int(self._sums[block]):
                raise IndexFileError(f"'{self.path.name}' is damaged in block {block}")

    @contextmanager
    def _changing(self, tag: str, count: int) -> Iterator[int]:
        """The file, open for writing, without its tag until all else is on the disk."""
        file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if _Header.unpacked(os.pread(file, _PAGE, 0)) != self._header:
                raise IndexFileError(f"'{self.path.name}' was changed by another process")
            os.pwrite(file, replace(self._header, tag="").packed(), 0)
            os.fsync(file)
            yield file
            os.fsync(file)
            self._header = replace(self._header, tag=tag, count=count)
            os.pwrite(file, self._header.packed(), 0)
            os.fsync(file)
        except ValueError as error:
            raise IndexFileError(f"'{self.path.name}' cannot be changed: {error}") from error
        finally:
            os.close(file)

    def _put(self, file: int, offset: int, array: NDArray[np.generic]) -> None:
        data = _bytes(array)
        while data:
            written = os.pwrite(file, data, offset)
            data, offset = data[written:], offset + written

    def _seal(self, file: int, blocks: range | list[int], count: int) -> None:
        for block in blocks:
            total = np.array([self._sum(block, count)], "<u4")
            self._put(file, _PAGE + 16 * self._header.capacity + 4 * block, total)

    def _sum(self, block: int, count: int) -> int:
        return _checksum(self._ids[:count], self._labels[:count], self._rows[:count], block)


def read_rows(path: Path, *, checked: Literal["all", "header"] = "all") -> RowFile:
    """Map a file and check it.

    Args:
        path: of the file.
        checked: ``header`` leaves the rows to ``RowFile.check``.

    Raises:
        FileNotFoundError: there is none.
        IndexFileError: it is damaged, cut off, of another format, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = _Header.unpacked(file.read(_PAGE))
            size = os.fstat(file.fileno()).st_size
            if size != header.size or not 0 <= header.count <= header.capacity:
                raise ValueError(f"it has {size} bytes rather than {header.size}")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise IndexFileError(f"'{path.name}' cannot be used: {error}") from error
    rows = RowFile(path, header, mapped)
    if checked == "all":
        rows.check()
    return rows


def write_rows(
    path: Path, ids: Ids, labels: Ids, vectors: Vectors, *, tag: str, room: int = 0
) -> None:
    """Write a new file, readable by its owner alone.

    Not atomic: write to another name, then ``Path.replace``.

    Args:
        path: there must be no such file.
        ids: N.
        labels: N, not 0.
        vectors: N×D float32.
        tag: of what they are a copy, up to 3000 characters.
        room: rows that can be appended later.

    Raises:
        OSError: it cannot be written, or the disk is too small.
    """
    count, dim = vectors.shape
    header = _Header(MAGIC, secrets.token_hex(8), tag, dim, count, count + room)
    sums = np.zeros(header.blocks, "<u4")
    for block in range(-(-count // _BLOCK)):
        sums[block] = _checksum(ids, labels, vectors, block)
    parts: list[tuple[int, NDArray[np.generic]]] = [
        (_PAGE, ids.astype("<i8")),
        (_PAGE + 8 * header.capacity, labels.astype("<i8")),
        (_PAGE + 16 * header.capacity, sums),
        (header.start, np.ascontiguousarray(vectors, "<f4")),
    ]
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # All of it is taken now: a hole that cannot be filled later would end the process
        # (SIGBUS) that has it mapped.
        os.posix_fallocate(file.fileno(), 0, header.size)
        file.write(header.packed())
        for offset, array in parts:
            file.seek(offset)
            file.write(_bytes(array))
        file.flush()
        os.fsync(file.fileno())


def _checksum(ids: Ids, labels: Ids, vectors: Vectors, block: int) -> int:
    """CRC-32 of a block of rows."""
    rows = slice(block * _BLOCK, (block + 1) * _BLOCK)
    total = 0
    for array in (ids[rows], labels[rows], vectors[rows]):
        total = zlib.crc32(_bytes(array), total)
    return total


def _bytes(array: NDArray[np.generic]) -> memoryview:
    """The bytes of an array, not copied where it is contiguous."""
    if array.size == 0:
        return memoryview(b"")
    return np.ascontiguousarray(array).data.cast("B")
