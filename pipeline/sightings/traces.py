"""Looks for the bytes of what was erased in files: the proof that nothing is left of it."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.types import Floats

# Of each embedding two pieces are looked for, so that the end of a page of the file hides none.
PIECE = 32
# A piece with fewer different bytes (zeros, one colour) says nothing.
_LEAST_DISTINCT = 8
MOST_EMBEDDINGS = 20_000
_CHUNK = 1 << 22
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(40)


class Traces:
    """What identifies the data of people in files.

    Of more than `MOST_EMBEDDINGS` embeddings a random sample is looked for.
    """

    def __init__(self) -> None:
        self._embeddings: list[Floats] = []
        self._seen = 0
        self._pieces: set[bytes] = set()
        self._pictures: set[tuple[int, str]] = set()

    def add_embedding(self, values: Floats) -> None:
        """An embedding D, which is looked for in float16 and float32."""
        self._seen += 1
        if len(self._embeddings) < MOST_EMBEDDINGS:
            self._embeddings.append(values)
        elif (slot := random.randrange(self._seen)) < MOST_EMBEDDINGS:
            self._embeddings[slot] = values

    def add_content(self, data: bytes) -> None:
        """A picture in the database itself: a piece of it that is like no other's."""
        for start in range(len(data) // 2, len(data) - PIECE, PIECE):
            piece = data[start : start + PIECE]
            if len(set(piece)) >= PIECE * 3 // 4:
                self._pieces.add(piece)
                return

    def add_picture(self, size: int, sha256: str) -> None:
        """A file of so many bytes with this checksum."""
        self._pictures.add((size, sha256))

    def pieces(self) -> set[bytes]:
        """All pieces that are looked for."""
        found = set(self._pieces)
        for values in self._embeddings:
            found |= embedding_pieces(values)
        return found

    def pictures_in(self, files: Iterable[Path]) -> list[Path]:
        """The files that are one of the pictures."""
        sizes = {size for size, _ in self._pictures}
        found = []
        for path in files:
            with suppress(OSError):
                size = path.stat().st_size
                if size in sizes and (size, _checksum(path)) in self._pictures:
                    found.append(path)
        return found


def embedding_pieces(values: Floats) -> set[bytes]:
    """The pieces by which an embedding is found, in float16 and float32."""
    found = set()
    for kind in ("<f2", "<f4"):
        data = np.asarray(values, kind).tobytes()
        for start in (0, len(data) // 2):
            piece = data[start : start + PIECE]
            if len(piece) >= 8 and len(set(piece)) >= _LEAST_DISTINCT:
                found.add(piece)
    return found


class PieceSearch:
    """Finds any of many pieces, each of 8 bytes or more, in files."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: defaultdict[int, list[bytes]] = defaultdict(list)
        for piece in pieces:
            self._pieces[int.from_bytes(piece[:8], "little")].append(piece)
        self._table = np.zeros(1 << 24, np.bool_)
        self._table[_hashed(np.array(list(self._pieces), np.uint64))] = True

    def in_file(self, path: Path) -> set[bytes]:
        """The pieces that a file has; none where it is gone.

        Raises OSError if it cannot be read.
        """
        found: set[bytes] = set()
        try:
            file = _held(path)
        except FileNotFoundError:
            return found
        at, rest = 0, b""
        while chunk := os.pread(file, _CHUNK, at):
            found |= self.in_bytes(rest + chunk)
            at += len(chunk)
            rest = (rest + chunk)[1 - PIECE :]
        return found

    def in_bytes(self, data: bytes) -> set[bytes]:
        """The pieces that are in the data."""
        found: set[bytes] = set()
        for shift in range(8 if self._pieces else 0):
            count = (len(data) - shift) // 8
            if count <= 0:
                break
            words = np.frombuffer(data, "<u8", count, shift)
            for at in np.flatnonzero(self._table[_hashed(words)]).tolist():
                start = shift + 8 * at
                for piece in self._pieces.get(int(words[at]), ()):
                    if data[start : start + len(piece)] == piece:
                        found.add(piece)
        return found


_open_files: dict[tuple[int, int], int] = {}


def _held(path: Path) -> int:
    """A descriptor of a file that stays open: closing one of a database would free the locks that
    SQLite holds on it in other threads of this process."""
    facts = path.stat()
    key = facts.st_dev, facts.st_ino
    if key not in _open_files:
        _open_files[key] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _open_files[key]


def _hashed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        return (words * _ODD) >> _SHIFT


def database_files(path: Path) -> Iterator[Path]:
    """The database, its journals, copies of any kind beside it, and what of its folder this
    process has mapped into memory."""
    place = Path(os.path.realpath(path))
    found = {one for one in place.parent.iterdir() if one.name.startswith(place.name)}
    media = place.parent / "media"
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            name = line.partition("/")[2]
            mapped = Path("/" + name)
            if name and mapped.is_relative_to(place.parent) and not mapped.is_relative_to(media):
                found.add(mapped)
    yield from sorted(one for one in found if one.is_file())


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return hashlib.sha256(b"").hexdigest()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return hashlib.sha256(content).hexdigest()
