"""Damaged and hostile files of every kind, ten thousand of them: what became of each?

    python -m benchmarks fuzz --inputs 10000 --json benchmarks/results/fuzz.json

The same inputs, by their numbers, as ``tests/fuzz`` of which ``make test`` runs the first 200. An
input that fails is kept and its seed printed: a traceback, a crash, no answer for 10 s, a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.campaign import fuzz

_ROUND = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the inputs; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--campaign", type=int, default=1, help="another one has other inputs")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="inputs that fail")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    began = time.monotonic()
    numbers = range(given.first, given.first + given.inputs)
    report = fuzz(range(0), given.keep)
    for start in range(0, len(numbers), _ROUND):
        part = numbers[start : start + _ROUND]
        found = fuzz(part, given.keep, campaign=given.campaign, processes=given.processes)
        report.add(found)
        for failure in found.failures:
            last = failure.what.strip().splitlines()[-1]
            print(f"{failure.kind} {failure.seed}: {last} ({failure.file})", flush=True)
        seconds = time.monotonic() - began
        if given.json is not None:
            about = {
                "campaign": given.campaign,
                "seconds": round(seconds),
                "python": platform.python_version(),
            }
            given.json.write_text(json.dumps(about | report.as_json(), indent=1) + "\n")
        print(
            f"{report.inputs} inputs, {len(report.failures)} failures, {seconds:.0f} s", flush=True
        )
    return 1 if report.failures else 0
