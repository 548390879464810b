"""Old figures beside new ones: what got faster or slower than the rounds' own spread explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .machine import differences, other_versions
from .results import Results, Row
from .stats import noise

Verdict = Literal["faster", "slower", "same"]


@dataclass(frozen=True, slots=True)
class Change:
    """One row that both have.

    Attributes:
        row: as it is now.
        old: the median then.
        new: the median now.
        ratio: new / old; above 1 is faster.
        noise: the relative difference that the rounds' spread explains.
    """

    row: Row
    old: float
    new: float
    ratio: float
    noise: float

    @property
    def verdict(self) -> Verdict:
        """``faster`` or ``slower`` beyond the noise, which counts the same both ways."""
        if self.ratio > 1 + self.noise:
            return "faster"
        return "slower" if self.ratio < 1 / (1 + self.noise) else "same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results side by side.

    Attributes:
        differences: what makes the two machines different ones; if any, nothing is compared.
        versions: packages of other versions.
        changes: rows with the same key, in the order of the new ones.
        only_old: rows that are not there any more.
        only_new: rows that were not there.
        warnings: why the figures may mislead.
    """

    differences: list[str]
    versions: list[str]
    changes: list[Change]
    only_old: list[Row]
    only_new: list[Row]
    warnings: list[str]

    @property
    def regressions(self) -> list[Change]:
        """What got slower beyond the noise."""
        return [change for change in self.changes if change.verdict == "slower"]


def compare_results(old: Results, new: Results) -> Comparison:
    """Compare the rows of the same key, where both were measured on the same kind of machine."""
    unlike = differences(old.machine, new.machine)
    before = {row.key: row for row in old.rows}
    now = {row.key: row for row in new.rows}
    changes = [
        Change(
            row=row,
            old=(then := before[key]).median,
            new=row.median,
            ratio=row.median / then.median,
            noise=noise(then.rounds, row.rounds),
        )
        for key, row in now.items()
        if key in before and before[key].unit == row.unit and not unlike
    ]
    return Comparison(
        differences=unlike,
        versions=other_versions(old.machine, new.machine),
        changes=changes,
        only_old=[row for key, row in before.items() if key not in now],
        only_new=[row for key, row in now.items() if key not in before],
        warnings=_warnings(old, new),
    )


def _warnings(old: Results, new: Results) -> list[str]:
    told = [
        f"the machine was busy when the {age} figures were taken "
        f"(load {results.machine.get('load_average')})"
        for age, results in (("old", old), ("new", new))
        if results.machine.get("busy")
    ]
    for name in ("rounds", "seconds", "quick"):
        then, now = old.arguments.get(name), new.arguments.get(name)
        if then != now:
            told.append(f"{name} was {then} then and is {now} now")
    return told
