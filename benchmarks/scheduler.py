"""Interleaves the contenders of a suite: each in its own process, round after round."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from facestream.pipeline.cli.bench import case_text
from facestream.pipeline.cli.bench_results import Missing, Ratio, Results, Row

from .contender import ContenderFailed, ContenderProcess, ContenderTimeout
from .suite import Case, Options, Suite

Progress = Callable[[str], None]

# The longest warm-up of a contender for a case.
_WARM_SECONDS, _QUICK_WARM_SECONDS = 3.0, 1.0


@dataclass(slots=True)
class _Rounds:
    """What one contender did in one case."""

    detail: Mapping[str, Any]
    rates: list[float] = field(default_factory=list)
    items: float = 0.0
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0


class Scheduler:
    """Runs one suite; rows are added to the results case by case.

    A contender that fails is left out with its error. It is tried again in the next case, unless
    it failed in its first one; one that timed out is tried again in the next group.

    Args:
        suite: what is measured.
        options: how much.
        results: gets the rows, also those of a run that is interrupted.
        progress: called with what is being measured now.
    """

    def __init__(
        self, suite: Suite, options: Options, results: Results, progress: Progress
    ) -> None:
        self._suite, self._options, self._results = suite, options, results
        self._progress = progress
        self._processes: dict[str, ContenderProcess] = {}
        self._worked: set[str] = set()  # contenders that were ready for a case
        self._excluded: set[tuple[str, str | None]] = set()  # with a group, or from all
        self._gpu_mb: dict[str, float] = {}

    def run(self) -> None:
        """Measure all cases."""
        suite, options = self._suite, self._options
        names, missing = suite.contenders(options)
        names = [name for name in names if options.takes_contender(name)]
        self._progress(f"{suite.name}: making pictures and galleries")
        cases, beyond = suite.cases(options) if names else ([], [])
        for item in (*missing, *beyond):
            self._leave_out(item)
        cases = [case for case in cases if options.takes(case.key)]
        try:
            for number, case in enumerate(cases):
                if number and case.group != cases[number - 1].group:
                    self._end_all()
                where = f"{suite.name} {number + 1}/{len(cases)}: {case_text(case.key)}"
                self._results.rows.extend(self._measure(names, case, where))
        finally:
            self._end_all()
            rows = self._results.rows
            own = [row for row in rows if row.suite == suite.name]
            rows[:] = [*(row for row in rows if row.suite != suite.name), *suite.finish(own)]

    def _measure(self, names: list[str], case: Case, where: str) -> list[Row]:
        ready: dict[str, _Rounds] = {}
        for name in names:
            self._progress(f"{where}: {name} prepares")
            if (rounds := self._prepare(name, case)) is not None:
                ready[name] = rounds
        for number in range(self._options.rounds):
            for name in list(ready):
                self._progress(f"{where}: {name}, round {number + 1} of {self._options.rounds}")
                if not self._round(name, case, ready[name]):
                    del ready[name]
        answers = {name: self._ask(name, case, {"do": "find"}) for name in list(ready)}
        answers = {name: answer for name, answer in answers.items() if answer is not None}
        checks = self._suite.check(case, answers)
        reference = next(iter(ready.values()), None)
        return [
            Row(
                suite=self._suite.name,
                contender=name,
                case=case.key,
                unit=case.unit,
                rounds=rounds.rates,
                slower=None if reference is None else ratio(reference.rates, rounds.rates),
                memory_mb=round(rounds.memory_mb, 1),
                gpu_memory_mb=round(self._gpu_mb[name], 1) if name in self._gpu_mb else None,
                cpu_seconds=rounds.cpu_seconds / rounds.items,
                checks=checks.get(name, {}),
                detail=rounds.detail,
            )
            for name, rounds in ready.items()
        ]

    def _prepare(self, name: str, case: Case) -> _Rounds | None:
        """None if the contender has no part in the case or fails."""
        if self._excluded & {(name, None), (name, case.group)}:
            return None
        warm = _QUICK_WARM_SECONDS if self._options.quick else _WARM_SECONDS
        request = {
            "do": "prepare",
            "suite": self._suite.name,
            "contender": name,
            "case": dict(case.key),
            "unit": case.unit,
            "given": dict(case.given),
            "warm_seconds": warm,
        }
        detail = self._ask(name, case, request)
        if detail is None:
            return None
        self._worked.add(name)
        return _Rounds(detail)

    def _round(self, name: str, case: Case, rounds: _Rounds) -> bool:
        done = self._ask(name, case, {"do": "run", "seconds": self._options.seconds})
        if done is None:
            return False
        rounds.rates.append(done["items"] / done["seconds"])
        rounds.items += done["items"]
        rounds.cpu_seconds += done["cpu_seconds"]
        rounds.memory_mb = max(rounds.memory_mb, done["memory_mb"])
        return True

    def _ask(self, name: str, case: Case, request: dict[str, Any]) -> Any:
        """The worker's answer; None, and a line in the results, if it fails."""
        before = _gpu_memory_mb()
        if name not in self._processes:
            self._processes[name] = ContenderProcess()
        try:
            answer = self._processes[name].ask(request)
        except ContenderFailed as error:
            self._processes.pop(name).close()
            self._gpu_mb.pop(name, None)
            what = f"{name} ({case_text(case.key)})"
            if isinstance(error, ContenderTimeout):
                self._excluded.add((name, case.group))
            elif name not in self._worked:
                # What fails in its first case cannot run here; it would fail in every case.
                self._excluded.add((name, None))
                what = name
            self._leave_out(Missing(self._suite.name, what, str(error)))
            return None
        if before is not None and (after := _gpu_memory_mb()) is not None:
            self._gpu_mb[name] = self._gpu_mb.get(name, 0.0) + after - before
        return answer

    def _leave_out(self, missing: Missing) -> None:
        if missing not in self._results.missing:
            self._results.missing.append(missing)

    def _end_all(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()
        self._gpu_mb.clear()


def ratio(reference: Sequence[float], own: Sequence[float]) -> Ratio:
    """How many times larger ``reference`` is than ``own``, round by round.

    The machine's speed drifts, so only figures of the same round are compared.

    Raises:
        ValueError: the numbers of rounds differ or are zero, or one of ``own`` is not above 0.
    """
    if len(reference) != len(own) or not own:
        raise ValueError(f"{len(reference)} rounds do not pair with {len(own)}")
    if min(own) <= 0:
        raise ValueError("a rate must be above 0")
    ratios = [a / b for a, b in zip(reference, own, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def _gpu_memory_mb() -> float | None:
    """Memory in use on the first GPU by all processes; None without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(ran.stdout) if ran.returncode == 0 else None
