"""Threads, sockets and files that are left over."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.waiting import wait_until

# Made by libraries once, and kept for the next run: pools of native threads wake through these.
_LASTING = ("anon_inode:", "/dev/", "/proc/", "/sys/")


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds at a moment.

    Attributes:
        threads: names of Python's threads.
        sockets: number of open sockets.
        files: open files and pipes, pipes without their numbers.
    """

    threads: Counter[str]
    sockets: int
    files: Counter[str]

    @classmethod
    def now(cls) -> Self:
        """What is held now."""
        links = []
        for entry in Path("/proc/self/fd").iterdir():
            try:
                links.append(str(entry.readlink()))
            except OSError:  # the folder's own descriptor
                continue
        files = [link for link in links if not link.startswith(("socket:", *_LASTING))]
        return cls(
            threads=Counter(thread.name for thread in threading.enumerate()),
            sockets=sum(link.startswith("socket:") for link in links),
            files=Counter("pipe" if link.startswith("pipe:") else link for link in files),
        )

    def beyond(self, before: Held) -> str:
        """What is held now and was not before; empty when nothing is."""
        parts = []
        if threads := self.threads - before.threads:
            parts.append(f"threads {dict(threads)}")
        if self.sockets > before.sockets:
            parts.append(f"{self.sockets - before.sockets} sockets")
        if files := self.files - before.files:
            parts.append(f"files {dict(files)}")
        return ", ".join(parts)


def check_nothing_left(before: Held) -> None:
    """Wait until nothing is held beyond ``before``; fails when something stays."""
    gc.collect()
    last = [""]

    def released() -> bool:
        last[0] = Held.now().beyond(before)
        return not last[0]

    try:
        wait_until(released)
    except BaseException as error:
        error.add_note(f"left over: {last[0]}")
        raise
