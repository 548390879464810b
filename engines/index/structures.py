"""Files of what an approximate core built, so that the next start need not build it again.

- HNSW: the graph alone, without vectors.
- IVF-PQ: lists of positions with codes of D/4 bytes. The codes tell much of the vectors: they are
  erased with them (``erase_structure``).

FAISS's own file, with a page at its end that says over which vectors it was built (``tag``), how
many those were, and the checksum of all before.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import IndexFileError
from .approximate import HnswCore, IvfPqCore
from .cores import Vectors
from .library import faiss_reason, load_faiss
from .parts import Ids

StructureKind = Literal["hnsw", "ivfpq"]
_PAGE = 4096
_CHUNK = 2**22


def save_structure(core: HnswCore | IvfPqCore, path: Path, *, tag: str, count: int) -> None:
    """Write what the core built; atomic. A new file is readable by its owner alone.

    Args:
        core: whose.
        path: of the file, replaced.
        tag: names the vectors.
        count: how many the core was built over.

    Raises:
        OSError: it cannot be written.
    """
    kind: StructureKind = "hnsw" if isinstance(core, HnswCore) else "ivfpq"
    _write(core.structure, path, {"kind": kind, "tag": tag, "count": count})


def structure_count(path: Path, *, kind: StructureKind, tag: str) -> int | None:
    """Over how many of the vectors it was built; None where there is no fitting file."""
    try:
        page = _page(path)
    except (OSError, IndexFileError):
        return None
    fits = page.get("kind") == kind and page.get("tag") == tag
    return int(page["count"]) if fits else None


def load_structure(path: Path, *, kind: StructureKind, vectors: Vectors) -> HnswCore | IvfPqCore:
    """The core of a file over the vectors it was built over.

    Raises:
        IndexFileError: it is damaged or does not fit.
    """
    index = _read(path)
    if index.d != vectors.shape[1] or index.ntotal > len(vectors):
        raise IndexFileError(f"'{path.name}' is an index of {index.ntotal}×{index.d}")
    return HnswCore(vectors, index) if kind == "hnsw" else IvfPqCore(vectors, index)


def erase_structure(path: Path, positions: Ids) -> None:
    """Take the codes of these vectors out of the file; the old file is overwritten with zeros.

    A graph holds none and is left as it is.

    Raises:
        FileNotFoundError: there is none.
        IndexFileError: it is damaged.
        OSError: it cannot be written.
    """
    page = _page(path)
    if page.get("kind") == "hnsw":
        return
    index = _read(path)
    forget(index, positions)
    with path.open("rb+") as old:
        _write(index, path, {name: page[name] for name in ("kind", "tag", "count")})
        _zero(old.fileno())


def forget(index: Any, positions: Ids) -> None:
    """Take codes out of the lists; positions of the others stay."""
    index.remove_ids(np.ascontiguousarray(positions, np.int64))


def _write(index: Any, path: Path, page: dict[str, Any]) -> None:
    faiss = load_faiss()
    flags = faiss.IO_FLAG_SKIP_STORAGE if page["kind"] == "hnsw" else 0
    part = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        faiss.write_index(index, str(part), flags)
        size = part.stat().st_size
        text = json.dumps({**page, "size": size, "crc": _checksum(part, size)}).encode()
        with part.open("ab") as file:
            file.write(text.ljust(_PAGE))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    except RuntimeError as error:
        raise OSError(f"'{path.name}' cannot be written: {faiss_reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def _page(path: Path) -> dict[str, Any]:
    """The last page.

    Raises:
        IndexFileError: it is damaged.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _PAGE))
        text = file.read(_PAGE)
    try:
        page = json.loads(text)
    except ValueError as error:
        raise IndexFileError(f"'{path.name}' is cut off or of something else") from error
    if not isinstance(page, dict) or page.get("size") != size - _PAGE:
        raise IndexFileError(f"'{path.name}' is cut off or of something else")
    return page


def _read(path: Path) -> Any:
    """FAISS's index, its checksum compared.

    Raises:
        IndexFileError: it cannot be read.
    """
    try:
        page = _page(path)
        if _checksum(path, page["size"]) != page["crc"]:
            raise IndexFileError(f"'{path.name}' is damaged")
        return load_faiss().read_index(str(path))
    except (OSError, RuntimeError) as error:
        reason = faiss_reason(error) if isinstance(error, RuntimeError) else error.strerror
        raise IndexFileError(f"'{path.name}' cannot be read as an index ({reason})") from error


def _checksum(path: Path, size: int) -> int:
    """CRC-32 of the first bytes."""
    total = 0
    with path.open("rb") as file:
        while size > 0:
            data = file.read(min(size, _CHUNK))
            if not data:
                break
            total, size = zlib.crc32(data, total), size - len(data)
    return total


def _zero(file: int) -> None:
    """Overwrite an open file."""
    size = os.fstat(file).st_size
    for start in range(0, size, _CHUNK):
        os.pwrite(file, bytes(min(_CHUNK, size - start)), start)
    os.fsync(file)
