"""A contender's own process: prepares cases and works on them in its turn.

One JSON request per line on standard input, one JSON answer per line on standard output. What
libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from .suite import Case, Prepared
from .suites import suite_named

_PROC = Path("/proc/self")


class Worker:
    """Answers requests one after another."""

    def __init__(self) -> None:
        self._prepared: Prepared | None = None

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Do what is asked: ``prepare``, ``run`` or ``find``."""
        if request["do"] == "prepare":
            return self._prepare(request)
        if self._prepared is None:
            raise ValueError("nothing was prepared")
        if request["do"] == "run":
            return {**_work(self._prepared, request["seconds"]), "memory_mb": _peak_memory_mb()}
        return self._prepared.answer()

    def close(self) -> None:
        """Free what was prepared."""
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.close()
        _reset_peak_memory()
        start = time.perf_counter()
        case = Case(request["case"], request["unit"], request["given"])
        self._prepared = suite_named(request["suite"]).prepare(request["contender"], case)
        if self._prepared is None:
            return None
        loaded = time.perf_counter() - start
        done, end = 0.0, time.perf_counter() + request["warm_seconds"]
        while done < self._prepared.warm and time.perf_counter() < end:
            took = self._prepared.step()
            done += took[0] if isinstance(took, tuple) else took
        return {**self._prepared.detail, "load_seconds": round(loaded, 3)}


def _work(prepared: Prepared, least_seconds: float) -> dict[str, float]:
    """Items, the seconds and the CPU seconds they took: at least so long and one step."""
    items = counted = 0.0
    start, used = time.perf_counter(), time.process_time()
    while True:
        took = prepared.step()
        passed = time.perf_counter() - start
        if isinstance(took, tuple):
            items, counted = items + took[0], counted + took[1]
        else:
            items, counted = items + took, passed
        if passed >= least_seconds:
            cpu = time.process_time() - used
            # CPU time of what does not count is left out in proportion.
            return {"items": items, "seconds": counted, "cpu_seconds": cpu * counted / passed}


def _reset_peak_memory() -> None:
    """Let the kernel's peak of the resident size begin anew (proc(5), clear_refs)."""
    try:
        (_PROC / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak is then that of the process so far


def _peak_memory_mb() -> float:
    try:
        lines = (_PROC / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (marks or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] / 1024


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    worker = Worker()
    try:
        for line in requests:
            try:
                answer = {"answer": worker.answer(json.loads(line))}
            except Exception as error:  # noqa: BLE001  the scheduler reports every failure
                text = " ".join(str(error).split()) or "no message"
                answer = {"error": f"{type(error).__name__}: {text}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:
        worker.close()


if __name__ == "__main__":
    # Ctrl-C reaches all processes of the terminal; the scheduler ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as own:
        os.dup2(2, 1)
        serve(sys.stdin, own)
