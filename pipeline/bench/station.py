"""A contender's own process: prepares cases and works on them when its turn comes.

One JSON request a line on standard input, one JSON answer a line on standard output. Whatever a
library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from ..metrics import peak_memory_bytes
from .suite import Case, Prepared
from .suites import suite_named

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Station:
    """Answers requests one after another."""

    def __init__(self) -> None:
        self._now: Prepared | None = None

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Do what is asked: ``prepare``, ``run`` or ``find``."""
        if request["do"] == "prepare":
            return self._prepare(request)
        if self._now is None:
            raise ValueError("nothing was prepared")
        if request["do"] == "run":
            items, seconds = _work(self._now, request["seconds"])
            return {"items": items, "seconds": seconds, "memory_mb": _peak_mb()}
        return self._now.answer()

    def close(self) -> None:
        """Free what was prepared."""
        if self._now is not None:
            self._now.close()
            self._now = None

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.close()
        _forget_peak()
        start = time.perf_counter()
        case = Case(request["case"], request["unit"], request["given"])
        self._now = suite_named(request["suite"]).prepare(request["contender"], case)
        if self._now is None:
            return None
        loaded = time.perf_counter() - start
        # To the end, or as long as that is bearable.
        done, end = 0.0, time.perf_counter() + request["warm_seconds"]
        while done < self._now.warm:
            took = self._now.step()
            done += took[0] if isinstance(took, tuple) else took
            if time.perf_counter() > end:
                break
        return {**self._now.detail, "load_seconds": round(loaded, 3)}


def _work(prepared: Prepared, least_seconds: float) -> tuple[float, float]:
    """Items and the seconds they took, for at least so long and at least one step."""
    items = counted = 0.0
    start = time.perf_counter()
    while True:
        took = prepared.step()
        passed = time.perf_counter() - start
        if isinstance(took, tuple):
            items, counted = items + took[0], counted + took[1]
        else:
            items, counted = items + took, passed
        if passed >= least_seconds:
            return items, counted


def _forget_peak() -> None:
    """Let the kernel's mark of the largest resident size begin anew (proc(5), clear_refs)."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return  # the peak is then that of the process so far


def _peak_mb() -> float:
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return peak_memory_bytes() / 2**20
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else peak_memory_bytes() / 2**20


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    station = Station()
    try:
        for line in requests:
            try:
                answer = {"answer": station.answer(json.loads(line))}
            except Exception as error:  # noqa: BLE001  another process asks: it must hear of all
                text = " ".join(str(error).split()) or "no message"
                answer = {"error": f"{type(error).__name__}: {text}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:
        station.close()


if __name__ == "__main__":
    # Ctrl-C reaches all processes of the terminal; the one that asks ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as own:
        os.dup2(2, 1)
        serve(sys.stdin, own)
