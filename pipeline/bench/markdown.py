"""Results as a Markdown page."""

from __future__ import annotations

from .comparison import Comparison
from .results import Results
from .suites import SUITES
from .words import (
    Table,
    comparison_lines,
    comparison_table,
    machine_lines,
    suite_table,
)


def to_markdown(results: Results, comparison: Comparison | None = None) -> str:
    """The whole page: machine, a table a suite, what was left out, the comparison."""
    parts = ["# facestream bench", *machine_lines(results)]
    for suite in SUITES:
        table = suite_table(results, suite)
        if table is not None:
            parts += [f"## {suite}", _table(table)]
    if results.missing:
        parts += ["## Left out", "\n".join(f"- {item}" for item in results.missing)]
    if comparison is not None:
        parts += ["## Then and now", *comparison_lines(comparison)]
        if comparison.changes:
            parts.append(_table(comparison_table(comparison)))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    lines = [_line(table.heads), "|" + "---|" * len(table.heads)]
    return "\n".join([*lines, *map(_line, table.rows)])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
