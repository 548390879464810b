"""Lists of picture files, and reading them ahead in threads."""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TextIO

from facestream.engines.devices import usable_cpus

from .errors import ImageError, SourceError
from .folders import PassedOver, files_below
from .images import DecodedPhoto, read_photo
from .picture_kinds import PICTURE_SUFFIXES

log = logging.getLogger(__name__)

AHEAD_BYTES = 256 * 2**20
BATCH_BYTES = 64 * 2**20

Read = tuple[str, DecodedPhoto | ImageError]
"""A path, and its picture or why there is none."""


def list_pictures(paths: Sequence[str | Path], *, stdin: TextIO | None = None) -> list[str]:
    """All picture files, in the order given; folders are searched with all below them.

    Args:
        paths: files, folders, or ``-`` for a list of paths on standard input, one a line (or
            separated by NUL, as by ``find -print0``). Files are taken with any suffix, and
            need not exist.
        stdin: instead of standard input.

    Raises:
        SourceError: there is nothing to read.
    """
    found: list[str] = []
    for path in paths:
        passed = PassedOver()
        if str(path) == "-":
            text = (stdin or sys.stdin).read()
            lines = text.split("\0") if "\0" in text else text.splitlines()
            found += [line for line in lines if line.strip()]
        elif Path(path).is_dir():
            found += _below(Path(path), passed)
        else:
            found.append(str(path))
        if (line := passed.summary(str(path))) is not None:
            log.info("%s", line)
    if not found:
        places = ", ".join(str(path) for path in paths)
        raise SourceError(f"no pictures in {places}; give picture files or a folder of them")
    return found


def read_ahead(paths: Sequence[str], *, ahead: int = 64) -> Generator[Read]:
    """Read pictures in their order, up to ``ahead`` of them before they are requested.

    Large pictures are read less far ahead, to about ``AHEAD_BYTES`` in all. Decoding releases the
    interpreter's lock: it runs beside the networks.
    """
    workers = max(usable_cpus(), 2)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read")
    waiting: deque[tuple[str, Future[DecodedPhoto | ImageError]]] = deque()
    todo = iter(paths)
    room, mean = workers, 0.0
    try:
        while True:
            for path in islice(todo, max(room - len(waiting), 0)):
                waiting.append((path, pool.submit(_read, path)))
            if not waiting:
                return
            path, future = waiting.popleft()
            photo = future.result()
            if not isinstance(photo, ImageError):
                size = photo.image.nbytes
                mean = max(size, 0.9 * mean + 0.1 * size)
                room = min(max(int(AHEAD_BYTES / mean), workers), ahead)
            yield path, photo
    finally:
        pool.shutdown(cancel_futures=True)


def in_batches(pictures: Iterator[Read], *, most: int = 32) -> Generator[list[Read]]:
    """Group pictures for the detector: at most ``most``, fewer where they are large."""
    batch: list[Read] = []
    size = 0
    for path, photo in pictures:
        batch.append((path, photo))
        size += 0 if isinstance(photo, ImageError) else photo.image.nbytes
        if len(batch) == most or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def nothing_readable(reasons: Sequence[str]) -> str:
    """The message when no picture at all could be read."""
    if len(reasons) == 1:
        return reasons[0]
    return f"none of the {len(reasons)} pictures can be read; the first: {reasons[0]}"


def _read(path: str) -> DecodedPhoto | ImageError:
    try:
        return read_photo(path)
    except ImageError as error:
        return error


def _below(folder: Path, passed: PassedOver) -> Iterator[str]:
    for path in files_below(folder, passed):
        if os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES:  # noqa: PTH122
            yield path
