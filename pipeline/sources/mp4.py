"""The outermost boxes of an MP4 file, to tell whether it was cut short."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

Completeness = Literal["complete", "cut", "no_index", "not_mp4"]


def completeness(path: Path) -> Completeness:
    """Does the file end where its last box ends?

    ``cut``: it ends inside a box; ``no_index``: it is cut and the index (``moov``) is missing,
    so that nothing can be decoded.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    kinds: set[bytes] = set()
    at = 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(16)
            length, kind = _box(header, size - at)
            if at == 0 and kind != b"ftyp":
                return "not_mp4"
            if length == 0 or at + length > size:
                return "cut" if b"moov" in kinds else "no_index"
            kinds.add(kind)
            at += length
    return "complete" if b"moov" in kinds else "no_index"


def _box(header: bytes, left: int) -> tuple[int, bytes]:
    """Length in bytes (0 when the header itself is incomplete or absurd) and kind of a box."""
    if len(header) < 8:
        return 0, b""
    length, kind = struct.unpack_from(">I4s", header)
    if length == 1:  # a 64-bit length follows
        length = struct.unpack_from(">Q", header, 8)[0] if len(header) == 16 else 0
    elif length == 0:  # to the end of the file
        length = left
    return (length if length >= 8 else 0), kind
