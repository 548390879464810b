"""Results as tables of text; the terminal and Markdown show the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .comparison import Comparison
from .results import Results, Row, Scalar
from .stats import spread


@dataclass(frozen=True, slots=True)
class Table:
    """A title, column heads, and rows of as many cells."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


def number(value: float) -> str:
    """Three digits that count: ``1,230``, ``45.6``, ``0.0789``."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3g}"


def case_words(case: Mapping[str, Scalar]) -> str:
    """``size 720p, batch 8``."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:,}"
        if isinstance(value, int)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in case.items()
    )


def check_words(checks: Mapping[str, Scalar]) -> str:
    """``recall 1, iou least 0.99``; what is not known is left out, and what is as it should be."""
    parts = []
    for name, value in checks.items():
        if value is None or value is True:
            continue
        shown = number(value) if isinstance(value, float) else str(value)
        if isinstance(value, float) and 0.99 <= value < 1:
            shown = f"{value:.6g}"  # 0.9999 is not 1
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def joules_words(row: Row) -> str:
    """Joules per item of each counter, or that there is none."""
    if not row.joules:
        return "no counter"
    return ", ".join(f"{name} {number(joules)} J" for name, joules in row.joules.items())


def machine_lines(results: Results) -> list[str]:
    """Where and when, and what to bear in mind."""
    machine = results.machine
    gpus = ", ".join(gpu["name"] for gpu in machine.get("gpus", [])) or "no GPU"
    counters = ", ".join(machine.get("energy_counters", [])) or "no counter"
    packages = ", ".join(f"{name} {v}" for name, v in machine.get("packages", {}).items())
    lines = [
        f"{machine['cpu']} ({', '.join(machine['cpu_features'])}), {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {gpus}, {machine['system']}, Python {machine['python']}",
        packages,
        f"Measured {results.measured_at}; load at the start {machine['load_average']}; "
        f"energy: {counters}",
    ]
    if machine.get("busy"):
        lines.append(
            "WARNING: the machine was busy when this began: the figures are of the others' work "
            "as well; ratios within a row of rounds say more than the rates"
        )
    if not results.complete:
        lines.append("WARNING: interrupted: this is what was done until then")
    return [*lines, *results.notes]


def suite_table(results: Results, suite: str) -> Table | None:
    """The rows of a suite; None where there are none."""
    rows = results.of(suite)
    if not rows:
        return None
    gpu = any(row.gpu_memory_mb is not None for row in rows)
    energy = any(row.joules for row in rows)
    heads = ["case", "contender", "rate", "spread", "first is × as fast", "memory MB"]
    heads += ["GPU MB"] if gpu else []
    heads += ["energy per item"] if energy else []
    return Table(suite, (*heads, "checked"), list(_cells(rows, gpu, energy)))


def _cells(rows: list[Row], gpu: bool, energy: bool) -> Iterator[tuple[str, ...]]:
    for row in rows:
        wide = spread(row.rounds)
        slower = row.slower
        cells = [
            case_words(row.case),
            row.contender,
            f"{number(row.median)} {row.unit}",
            "one round" if wide is None else f"{100 * wide:.0f} %",
            "" if slower is None else f"{slower.median:.2f} ({slower.low:.2f}–{slower.high:.2f})",
            "" if row.memory_mb is None else number(row.memory_mb),
        ]
        if gpu:
            cells.append("" if row.gpu_memory_mb is None else number(row.gpu_memory_mb))
        if energy:
            cells.append(joules_words(row))
        yield (*cells, check_words(row.checks))


def comparison_table(comparison: Comparison) -> Table:
    """Old and new of each row both have."""
    marks = {"faster": "faster", "slower": "SLOWER", "same": ""}
    return Table(
        "then and now",
        ("suite", "case", "contender", "old", "new", "new / old", "noise", ""),
        [
            (
                change.row.suite,
                case_words(change.row.case),
                change.row.contender,
                number(change.old),
                f"{number(change.new)} {change.row.unit}",
                f"{change.ratio:.2f}",
                f"±{100 * change.noise:.0f} %",
                marks[change.verdict],
            )
            for change in comparison.changes
        ],
    )


def comparison_lines(comparison: Comparison) -> list[str]:
    """What is to be said of a comparison beside its table."""
    if comparison.differences:
        return [
            "WARNING: NOT COMPARED: the old figures are of another machine: "
            + "; ".join(comparison.differences)
        ]
    slower = len(comparison.regressions)
    lines = [f"WARNING: {text}" for text in comparison.warnings]
    if comparison.versions:
        lines.append("other versions: " + ", ".join(comparison.versions))
    lines.append(
        f"{len(comparison.changes)} rows compared: {slower} slower beyond the noise, "
        f"{sum(change.verdict == 'faster' for change in comparison.changes)} faster; "
        f"{len(comparison.only_old)} are only in the old file, {len(comparison.only_new)} only here"
    )
    return lines
