"""Walks through folders of users: what systems put beside their files is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# fmt: off
# Thumbnails, deleted files and snapshots of NAS systems, macOS and Windows; in lower case.
_SYSTEM: Final = frozenset(
    {
        "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin",
        "__macosx", "$recycle.bin", "system volume information", "lost+found", "thumbs.db",
        "ehthumbs.db", "desktop.ini",
    }
)
# fmt: on


@dataclass(slots=True)
class PassedOver:
    """Counts the entries of folders that are left out: hidden ones, and those of a system.

    Attributes:
        counts: by the entry's name; all hidden files together are ``hidden files``.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def keep(self, names: Iterable[str]) -> list[str]:
        """The entries of a folder that are the user's, sorted; the others are counted."""
        kept = []
        for name in sorted(names):
            if name.lower() in _SYSTEM:
                self.counts[name] += 1
            elif name.startswith("."):
                self.counts["hidden files"] += 1
            else:
                kept.append(name)
        return kept

    def summary(self, place: str) -> str | None:
        """A line for the user; None where nothing was passed over."""
        if not self.counts:
            return None
        listed = ", ".join(f"{name} {count}" for name, count in self.counts.most_common(5))
        total = self.counts.total()
        entries = "entry is" if total == 1 else "entries are"
        return f"{place}: {total} hidden or system {entries} passed over ({listed})"


def files_below(
    folder: str | Path, passed: PassedOver, *, on_error: Callable[[OSError], None] | None = None
) -> Iterator[str]:
    """All files of a folder and below, in sorted order; links to folders are not followed.

    Plain strings: there may be a million.
    """
    for place, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = passed.keep(folders)
        yield from (os.path.join(place, name) for name in passed.keep(files))  # noqa: PTH118
