"""Small file systems that fill up."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, size: str = "96k") -> Iterator[Path]:
    """A file system of its own, with room for so much; skips where it cannot be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system")
    if (ran := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no small file system: {ran.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(folder: Path, *, but: int = 0) -> Path:
    """Take all the room there is, but so many bytes."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(512))
        file.truncate(max(file.tell() - but, 0))
    return path
