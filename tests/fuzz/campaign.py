"""Runs inputs in processes of their own: no crash, no hang, no gigabyte, no traceback."""

from __future__ import annotations

import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from .kinds import KINDS
from .worker import kind_of

PATIENCE: Final = 10.0
"""Seconds of processor time that an input may take: a busy machine is no hang."""
_SILENCE: Final = 60.0
_START: Final = 120.0


@dataclass(frozen=True)
class Failure:
    """An input that gave neither a result nor an error of facestream.

    Attributes:
        kind: see ``kinds.KINDS``.
        seed: campaign and number of the input.
        what: a traceback, a signal, or ``hang``.
        file: the input, kept.
    """

    kind: str
    seed: str
    what: str
    file: str


@dataclass
class Report:
    """What became of the inputs.

    Attributes:
        outcomes: ``ok``, ``error`` (one clear line) and ``failure`` of each kind.
        peak_mb: most memory of a process above that at its start.
        failures: the inputs that failed.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    peak_mb: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """Count of the inputs that were run."""
        return sum(counts.total() for counts in self.outcomes.values())

    def add(self, other: Report) -> None:
        """Count in what another part of a campaign found."""
        for kind, counts in other.outcomes.items():
            self.outcomes.setdefault(kind, Counter()).update(counts)
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        self.failures += other.failures

    def as_json(self) -> dict[str, Any]:
        """For a file of results."""
        return {
            "inputs": self.inputs,
            "outcomes": {kind: dict(sorted(self.outcomes[kind].items())) for kind in self.outcomes},
            "peak_mb": self.peak_mb,
            "failures": [asdict(failure) for failure in self.failures],
        }


def fuzz(numbers: range, folder: Path, *, campaign: int = 1, processes: int = 1) -> Report:
    """Run the inputs of these numbers.

    Args:
        numbers: of the inputs, which with the campaign say everything of them.
        folder: where inputs that fail are kept.
        campaign: another one has other inputs.
        processes: as many run side by side.
    """
    report = Report()
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(processes) as pool:
        shares = [numbers[first::processes] for first in range(processes)]
        for results in pool.map(lambda share: list(_share(share, folder, campaign)), shares):
            for number, answer in results:
                _count(report, number, answer, folder, campaign)
    return report


def _count(
    report: Report, number: int, answer: dict[str, Any], folder: Path, campaign: int
) -> None:
    kind, outcome = kind_of(number), str(answer["outcome"])
    report.outcomes.setdefault(kind, Counter())[outcome] += 1
    report.peak_mb = max(report.peak_mb, int(answer.get("peak_mb", 0)))
    if outcome == "failure":
        file = f"{kind}-{campaign}-{number}{KINDS[kind].suffix}"
        seed = f"{campaign}/{number}"
        report.failures.append(Failure(kind, seed, str(answer["message"]), str(folder / file)))


def _share(numbers: range, folder: Path, campaign: int) -> Iterator[tuple[int, dict[str, Any]]]:
    worker: _Process | None = None
    for number in numbers:
        if worker is None:
            worker = _Process(folder, campaign)
        answer = worker.run(number)
        yield number, answer
        if answer["outcome"] == "failure" and "\n" not in answer["message"]:
            worker.close()
            worker = None
    if worker is not None:
        worker.close()


class _Process:
    """A worker."""

    def __init__(self, folder: Path, campaign: int) -> None:
        code = (
            "import importlib.util as u\nif u.find_spec('facestream') is None: import conftest\n"
            "import sys; from pathlib import Path; from tests.fuzz.worker import main\n"
            f"main(Path(sys.argv[1]), {campaign})"
        )
        # Each thread would otherwise reserve 64 MB of address space.
        environment = os.environ | {"MALLOC_ARENA_MAX": "2", "PYTHONWARNINGS": "ignore"}
        self._log = folder / "worker.log"
        self._folder = folder
        self._here = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, str(self._here)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                cwd=Path(__file__).resolve().parents[2], env=environment,
            )  # fmt: skip
        ready = self._answer(_START)
        if ready.get("ready") is not True:
            self.close()
            raise RuntimeError(f"the worker does not start ({ready}); see {self._log}")

    def run(self, number: int) -> dict[str, Any]:
        """What the worker says of an input, or what ended it: one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % number)
        self._process.stdin.flush()
        return self._answer(_SILENCE, busy=PATIENCE)

    def close(self) -> None:
        """End it, and keep the inputs that failed."""
        self._process.kill()
        self._process.wait()
        for file in self._here.glob("*.*"):
            file.replace(self._folder / file.name)
        shutil.rmtree(self._here)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _processor_time(self) -> float:
        """Seconds so far, of all threads."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answer(self, seconds: float, *, busy: float = math.inf) -> dict[str, Any]:
        assert self._process.stdout is not None
        until, used = time.monotonic() + seconds, self._processor_time() + busy
        while not select.select([self._process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > until or self._processor_time() > used:
                return {"outcome": "failure", "message": f"hang: no answer within {PATIENCE:g} s"}
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            name = signal.Signals(-code).name if code < 0 else f"exit {code}"
            return {"outcome": "failure", "message": f"crash: {name}"}
        answer: dict[str, Any] = json.loads(line)
        return answer
