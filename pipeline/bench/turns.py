"""Lets contenders take turns: each in a process of its own, round after round, case after case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .contestant import Contestant, ContestantFailed, ContestantSlow
from .energy import Meters
from .nvml import Nvml
from .results import Missing, Results, Row
from .stats import ratio
from .suite import (
    Case,
    Suite,
    Wanted,
    Watch,
)

# How long a contender may warm up for a case.
_WARM_SECONDS = {"full": 3.0, "quick": 1.0}


@dataclass(slots=True)
class _Turns:
    """What one contender did in one case."""

    detail: Mapping[str, Any]
    rates: list[float] = field(default_factory=list)
    items: float = 0.0
    memory_mb: float = 0.0
    joules: dict[str, float] = field(default_factory=dict)


class _Field:
    """The contenders of a suite and their processes."""

    def __init__(self, suite: Suite, wanted: Wanted, results: Results) -> None:
        self.suite, self.wanted, self.results = suite, wanted, results
        self.meters, self.nvml = Meters(), Nvml()
        self._running: dict[str, Contestant] = {}
        self._served: set[str] = set()  # contenders that were ready for a case before
        self._out: set[str] = set()
        self._slow: set[tuple[str, str]] = set()  # contenders and groups of cases
        self._gpu_mb: dict[str, float] = {}

    def prepare(self, name: str, case: Case) -> _Turns | None:
        """Get a contender ready; None where the case is nothing for it or it fails."""
        if name in self._out or (name, case.group) in self._slow:
            return None
        warm = _WARM_SECONDS["quick" if self.wanted.quick else "full"]
        request = {
            "do": "prepare",
            "suite": self.suite.name,
            "contender": name,
            "case": dict(case.key),
            "unit": case.unit,
            "given": dict(case.given),
            "warm_seconds": warm,
        }
        detail = self._ask(name, case, request)
        if detail is None:
            return None
        self._served.add(name)
        return _Turns(detail)

    def turn(self, name: str, case: Case, turns: _Turns) -> bool:
        """One round of one contender; False when it failed."""
        before = self.meters.read()
        told = self._ask(name, case, {"do": "run", "seconds": self.wanted.seconds})
        if told is None:
            return False
        for counter, joules in self.meters.since(before).items():
            turns.joules[counter] = turns.joules.get(counter, 0.0) + joules
        turns.rates.append(told["items"] / told["seconds"])
        turns.items += told["items"]
        turns.memory_mb = max(turns.memory_mb, told["memory_mb"])
        return True

    def find(self, name: str, case: Case) -> Any:
        """What a contender finds in a case; None where it fails."""
        return self._ask(name, case, {"do": "find"})

    def gpu_memory_mb(self, name: str) -> float | None:
        """What it holds on the first GPU: how much more was in use after its turns than before."""
        return round(self._gpu_mb.get(name, 0.0), 1) if len(self.nvml) else None

    def end(self, name: str | None = None) -> None:
        """End one process, or all."""
        for each in [name] if name is not None else list(self._running):
            self._gpu_mb.pop(each, None)
            if (process := self._running.pop(each, None)) is not None:
                process.close()

    def _ask(self, name: str, case: Case, request: dict[str, Any]) -> Any:
        before = self.nvml.used_memory_mb()
        if name not in self._running:
            self._running[name] = Contestant()
        try:
            answer = self._running[name].ask(request)
        except ContestantFailed as error:
            self.end(name)
            what = f"{name} ({describe(case.key)})"
            if isinstance(error, ContestantSlow):
                # An index of that size would take as long again for the next batch.
                self._slow.add((name, case.group))
            elif name not in self._served:
                # What fails the first time cannot run here; it would fail each time.
                self._out.add(name)
                what = name
            self.results.leave_out(Missing(self.suite.name, what, str(error)))
            return None
        after = self.nvml.used_memory_mb()
        if before is not None and after is not None:
            self._gpu_mb[name] = self._gpu_mb.get(name, 0.0) + after - before
        return answer


def take_turns(suite: Suite, wanted: Wanted, results: Results, watch: Watch) -> None:
    """Measure all cases of a suite; rows are added to the results case by case.

    A contender that fails is named with its error. It has another try in the next case, unless it
    failed the first time; one that was too slow has it in the next group.
    """
    names, lacking = suite.contenders(wanted)
    names = [name for name in names if wanted.takes_contender(name)]
    watch.expect(1)
    watch.doing(f"{suite.name}: pictures and galleries are made")
    # Rendering pictures for nobody takes its time.
    cases, beyond = suite.cases(wanted) if names else ([], [])
    cases = [case for case in cases if wanted.takes(case.key)]
    for item in (*lacking, *beyond):
        results.leave_out(item)
    watch.expect(len(cases) * len(names) * (wanted.rounds + 1))
    field_ = _Field(suite, wanted, results)
    try:
        for number, case in enumerate(cases):
            if number and case.group != cases[number - 1].group:
                field_.end()
            results.rows.extend(_one_case(field_, names, case, watch))
    finally:
        field_.end()


def describe(key: Mapping[str, Any]) -> str:
    """A case in words: ``size 720p, batch 8``."""
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _one_case(contest: _Field, names: list[str], case: Case, watch: Watch) -> list[Row]:
    suite, rounds = contest.suite, contest.wanted.rounds
    ready: dict[str, _Turns] = {}
    for name in names:
        watch.doing(f"{suite.name}: {describe(case.key)}: {name} gets ready")
        turns = contest.prepare(name, case)
        if turns is not None:
            ready[name] = turns
    for number in range(rounds):
        for name in list(ready):
            watch.doing(
                f"{suite.name}: {describe(case.key)}: {name}, round {number + 1} of {rounds}"
            )
            if not contest.turn(name, case, ready[name]):
                del ready[name]
    answers = {name: answer for name in ready if (answer := contest.find(name, case)) is not None}
    checks = suite.check(case, answers)
    reference = next(iter(ready.values()), None)
    return [
        Row(
            suite=suite.name,
            contender=name,
            case=case.key,
            unit=case.unit,
            rounds=turns.rates,
            slower=None if reference is None else ratio(reference.rates, turns.rates),
            memory_mb=round(turns.memory_mb, 1),
            gpu_memory_mb=contest.gpu_memory_mb(name),
            joules={counter: spent / turns.items for counter, spent in turns.joules.items()},
            checks=checks.get(name, {}),
            detail=turns.detail,
        )
        for name, turns in ready.items()
    ]
