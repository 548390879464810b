"""Memory that the allocator keeps is given back."""

from __future__ import annotations

import threading

import facestream.pipeline.memory as memory
import pytest
from facestream.pipeline.memory import Trimmer, trim
from facestream.pipeline.metrics.memory import memory_bytes

from tests.waiting import wait_until


def test_what_is_free_goes_back_to_the_system() -> None:
    # Pieces of the heap that lie between others: freeing the last ones alone would not do.
    pieces = [bytearray(60_000) for _ in range(3000)]
    before = memory_bytes()["resident"]
    kept = pieces[::50]
    del pieces
    assert trim()
    assert memory_bytes()["resident"] < before - 50_000_000
    assert len(kept) == 60


def test_it_trims_again_and_again_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted() -> bool:
        calls.append(1)
        return True

    monkeypatch.setattr(memory, "trim", counted)
    trimmer = Trimmer(every=0.01)
    thread = threading.Thread(target=trimmer.run)
    thread.start()
    wait_until(lambda: len(calls) > 2)
    trimmer.stop()
    thread.join(30)
    assert not thread.is_alive()
