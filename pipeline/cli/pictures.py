"""Lists of picture files, and reading them ahead in threads."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from ..errors import ImageError, SourceError
from ..types import Image
from ..vision.images import read_image

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

Read = tuple[str, Image | ImageError]
"""A path, and its picture or why there is none."""


def list_pictures(paths: Sequence[str | Path], *, stdin: TextIO | None = None) -> list[str]:
    """All picture files, in the order given; folders are searched with all below them.

    Args:
        paths: files, folders, or ``-`` for a list of paths on standard input, one a line (or
            separated by NUL, as ``find -print0`` writes them). Files are taken as they are,
            whatever their suffix and whether they exist.
        stdin: instead of standard input.

    Raises:
        SourceError: there is nothing to read.
    """
    found: list[str] = []
    for path in paths:
        if str(path) == "-":
            found += _listed((stdin or sys.stdin).read())
        elif Path(path).is_dir():
            found += _below(Path(path))
        else:
            found.append(str(path))
    if not found:
        places = ", ".join(str(path) for path in paths)
        raise SourceError(f"no pictures in {places}; give picture files or a folder of them")
    return found


def read_ahead(paths: Sequence[str], *, ahead: int = 48) -> Generator[Read]:
    """Read pictures in their order, up to ``ahead`` of them before they are asked for.

    Decoding releases the interpreter's lock, so it runs beside the networks.
    """
    workers = max(os.cpu_count() or 1, 2)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    waiting: deque[tuple[str, Future[Image | ImageError]]] = deque()
    try:
        for path in paths:
            waiting.append((path, pool.submit(_read, path)))
            if len(waiting) >= ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: str) -> Image | ImageError:
    try:
        return read_image(path)
    except ImageError as error:
        return error


def _listed(text: str) -> list[str]:
    lines = text.split("\0") if "\0" in text else text.splitlines()
    return [line for line in lines if line.strip()]


def _below(folder: Path) -> list[str]:
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        found += [
            os.path.join(place, name)  # noqa: PTH118 - plain strings: there may be a million
            for name in sorted(files)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")  # noqa: PTH122
        ]
    return found
