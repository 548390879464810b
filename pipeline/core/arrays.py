"""Reading arrays of files that others may have written: no pickles, no sizes that are not there."""

from __future__ import annotations

import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

LARGEST: Final = 1 << 30
_MEMBERS: Final = 64
_HEADER: Final = 10_000
# fmt: off
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, LookupError, TypeError,
    ArithmeticError, SyntaxError, RuntimeError, MemoryError, tokenize.TokenError,
)
# fmt: on


def read_array(path: Path, *, largest: int = LARGEST) -> NDArray[Any]:
    """The array of a ``.npy`` file, read-only.

    Args:
        largest: most bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, larger, or holds Python objects.
    """
    return _array(_content(path, largest))


def read_arrays(path: Path, *, largest: int = LARGEST) -> Mapping[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file, read-only. As ``read_array``; ``largest`` of all together."""
    content = _content(path, largest)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > largest or len(members) > _MEMBERS:
                raise ValueError(
                    f"it holds {len(members)} arrays of {size} bytes; at most {_MEMBERS} of "
                    f"{largest} are read"
                )
            # A member is never read beyond the size that it declares.
            return {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _content(path: Path, largest: int) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise ValueError(f"it is larger than {largest} bytes")
        return file.read(size)


def _array(content: bytes) -> NDArray[Any]:
    """Not ``np.load``, which allocates what the header says before it reads."""
    file = io.BytesIO(content)
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[
            npy.read_magic(file)
        ]
        shape, column_major, dtype = read(file, max_header_size=_HEADER)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        array = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    except _DAMAGE as error:
        raise ValueError(f"it is no array: {error!r}") from error
    return array.reshape(shape, order="F" if column_major else "C")
