"""Files that say what was done: JSON, curves, and the revision of the code."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facestream.engines.files import write_atomically


def git_revision() -> str:
    """The commit that the code is at, with ``+changes`` where files differ; else ``unknown``."""
    try:
        head = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+changes",
             "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip()


def write_json(path: Path, value: Any) -> None:
    """A JSON file, in one step; numbers that JSON lacks (infinite, NaN) become null."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class Curve:
    """A CSV file of numbers by step; a resumed run drops the rows after its checkpoint."""

    def __init__(self, path: Path, *, first: int) -> None:
        self._path = path
        rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= first]
        path.unlink(missing_ok=True)
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row; its first keys make the header."""
        new = not self._path.is_file()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
