"""``make gpu``: what there is to see on an NVIDIA GPU in ten minutes, the most valuable first.

    python -m benchmarks gpu
    python -m benchmarks gpu --minutes 5 --step doctor --step tests

Each step is a process with a time limit and a file of its own; one that fails or takes too long
does not keep the others from running. A suite that is interrupted keeps what it measured.
``summary.json`` is written after each step.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# What a step gets after an interrupt, to write what it has.
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command; of its words ``{out}`` becomes the results' folder.

    Attributes:
        name: of the step and of its file.
        seconds: most that it may take.
        command: its first word is ``python`` or ``facestream``, those of this environment.
    """

    name: str
    seconds: float
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step: its exit status, or None where it was interrupted or not begun."""

    name: str
    status: int | None
    seconds: float
    command: str


def _suite(name: str, seconds: float, *more: str) -> Step:
    kept = ("--json", f"{{out}}/{name}.json", "--markdown", f"{{out}}/{name}.md")
    command = ("python", "-m", "benchmarks", "suite", name, "--quick", *more, *kept)
    return Step(name, seconds, command)


STEPS = (
    Step("doctor", 45, ("facestream", "doctor")),
    # Not -x: each failure is worth knowing, and the machine may be gone afterwards.
    Step("tests", 180, ("python", "-m", "pytest", "-q", "-m", "gpu or tensorrt", "--durations=10")),
    Step("parity", 60, ("facestream", "engines", "verify")),
    _suite("detect", 80),
    _suite("embed", 60),
    _suite("search", 45, "--no-peers"),
    _suite("e2e", 80),
    Step("bench", 50, ("facestream", "bench", "--quick", "--json", "{out}/bench.json")),
)


def run_steps(steps: Sequence[Step], out: Path, minutes: float) -> list[Outcome]:
    """Run the steps in ``minutes`` altogether; their output and ``summary.json`` go to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * minutes
    done: list[Outcome] = []
    for step in steps:
        left = min(step.seconds, until - time.monotonic() - _GRACE)
        words = [word.replace("{out}", str(out)) for word in step.command]
        began = time.monotonic()
        status = _run(words, out / f"{step.name}.txt", left) if left > 0 else None
        took = round(time.monotonic() - began, 1)
        done.append(Outcome(step.name, status, took, " ".join(words)))
        rows = [asdict(one) for one in done]
        (out / "summary.json").write_text(json.dumps(rows, indent=1) + "\n")
        said = "ok" if status == 0 else "not in time" if status is None else f"status {status}"
        print(f"{step.name:10}{took:7.1f} s  {said}", flush=True)
    return done


def _run(command: Sequence[str], output: Path, seconds: float) -> int | None:
    """The exit status; None if it was interrupted after so many seconds."""
    environment = os.environ | {"REQUIRE_GPU": "1"}  # a skip is a failure
    program = str(Path(sys.executable).with_name(command[0]))
    with output.open("wb") as file:
        # A session of its own: its children are interrupted with it.
        child = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            return child.wait(seconds)
        except subprocess.TimeoutExpired:
            _end(child)
            return None
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def main(arguments: Sequence[str]) -> int:
    """Returns 1 if a step failed or did not end in time."""
    parser = argparse.ArgumentParser(
        prog="benchmarks gpu", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=10.0, help="for all steps; 10")
    names = [step.name for step in STEPS]
    parser.add_argument(
        "--step", action="append", choices=names, help="only these; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"), metavar="DIR")
    given = parser.parse_args(arguments)
    steps = [step for step in STEPS if not given.step or step.name in given.step]
    done = run_steps(steps, given.out, given.minutes)
    return 0 if all(one.status == 0 for one in done) else 1
