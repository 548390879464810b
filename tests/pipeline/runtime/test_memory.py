"""Memory that the allocator keeps is given back."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from pathlib import Path

import facestream.pipeline.runtime.memory as memory
import pytest
from facestream.pipeline.metrics.store import memory_bytes
from facestream.pipeline.runtime.memory import Trimmer, trim

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_free_goes_back_to_the_system() -> None:
    # Pieces of the heap that lie between others: freeing the last ones alone would not do.
    pieces = [bytearray(60_000) for _ in range(3000)]
    before = memory_bytes()["resident"]
    kept = pieces[::50]
    del pieces
    assert trim()
    assert memory_bytes()["resident"] < before - 50_000_000
    assert len(kept) == 60


class _Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_it_collects_and_trims_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    knot = weakref.ref(_Knot())

    def counted() -> bool:
        calls.append(1)
        return True

    monkeypatch.setattr(memory, "trim", counted)
    trimmer = Trimmer(every=0.01)
    thread = threading.Thread(target=trimmer.run)
    thread.start()
    wait_until(lambda: len(calls) > 2)
    assert knot() is None
    trimmer.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_threads_share_a_heap_where_the_c_library_can() -> None:
    # In a process of its own: the setting cannot be taken back. Heaps lie at multiples of 64 MB.
    code = """
import conftest, sys, threading
from facestream.pipeline.runtime.memory import share_one_heap
if sys.argv[1] == "one":
    share_one_heap()
def work():
    kept.append([bytearray(5000) for _ in range(100)])
    together.wait()
kept, together = [], threading.Barrier(9)
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
together.wait()
starts = [int(line.split("-")[0], 16) for line in open("/proc/self/maps") if "rw-p" in line]
print(sum(start % (64 << 20) == 0 for start in starts))
"""
    heaps = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, which],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for which in ("many", "one")
    ]
    assert heaps[0] >= 2
    assert heaps[1] == 0
