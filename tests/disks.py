"""Small file systems that fill up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, *, kilobytes: int = 96) -> Iterator[Path]:
    """A file system of its own; only root can make one.

    Raises:
        PermissionError: it cannot be mounted here.
    """
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PermissionError(done.stderr.strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextmanager
def disk_or_skip(path: Path, *, kilobytes: int = 96) -> Iterator[Path]:
    """The same for a test, which is skipped where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with ExitStack() as stack:
        try:
            place = stack.enter_context(small_disk(path, kilobytes=kilobytes))
        except PermissionError as error:
            pytest.skip(f"no small disk can be mounted here: {error}")
        yield place


def fill(folder: Path, *, but: int = 0) -> Path:
    """Leave not one byte on the disk that the folder is on, or so many; returns what fills it."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (65536, 512, 1):
            try:
                while True:
                    os.write(descriptor, b"x" * size)
            except OSError:  # this size does not fit any more
                continue
        if but:
            os.ftruncate(descriptor, max(os.fstat(descriptor).st_size - but, 0))
    finally:
        os.close(descriptor)
    return path
