"""Results as tables of text: the terminal and Markdown show the same cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from facestream.pipeline.cli.bench import CHANGE_HEADS, case_text, change_cells, number
from facestream.pipeline.cli.bench_results import (
    Comparison,
    Results,
    Row,
    Scalar,
    machine_lines,
    spread,
)

HEADS = ("contender", "rate", "spread", "first is × as fast", "CPU ms", "MB", "GPU MB", "checks")


def checks_text(checks: Mapping[str, Scalar]) -> str:
    """``recall 1, iou least 0.99``; without what is unknown (None) or as it should be (True)."""
    parts = []
    for name, value in checks.items():
        if value is None or value is True:
            continue
        text = number(value) if isinstance(value, float) else str(value)
        if isinstance(value, float) and 0.99 <= value < 1:
            text = f"{value:.6g}"  # 0.9999 is not 1
        parts.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(parts)


def row_cells(row: Row) -> tuple[str, ...]:
    """A cell for each of ``HEADS``."""
    wide, slower = spread(row.rounds), row.slower
    return (
        row.contender,
        f"{number(row.median)} {row.unit}",
        "one round" if wide is None else f"{100 * wide:.0f} %",
        "" if slower is None else f"{slower.median:.2f} ({slower.low:.2f}–{slower.high:.2f})",
        "" if row.cpu_seconds is None else number(1000 * row.cpu_seconds),
        "" if row.memory_mb is None else number(row.memory_mb),
        "" if row.gpu_memory_mb is None else number(row.gpu_memory_mb),
        checks_text(row.checks),
    )


def markdown(results: Results, comparison: Comparison | None = None) -> str:
    """The page: machine, a table per suite, what was left out, the comparison."""
    parts = ["# Benchmarks", *machine_lines(results)]
    for suite, rows in groupby(results.rows, key=lambda row: row.suite):
        cells = [(case_text(row.case), *row_cells(row)) for row in rows]
        parts += [f"## {suite}", markdown_table(("case", *HEADS), cells)]
    if results.missing:
        parts += ["## Left out", "\n".join(f"- {item}" for item in results.missing)]
    if comparison is not None:
        parts += ["## Then and now", *comparison.lines]
        if comparison.changes:
            parts.append(markdown_table(CHANGE_HEADS, change_cells(comparison)))
    return "\n\n".join(parts) + "\n"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns that are empty in every row are left out."""
    cells = [list(row) for row in rows]
    kept = [i for i in range(len(heads)) if not cells or any(row[i] for row in cells)]
    lines = [[heads[i] or " " for i in kept], ["---" for _ in kept]]
    lines += [[row[i].replace("|", "\\|") for i in kept] for row in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def terminal_tables(results: Results) -> Iterator[Any]:
    """A table per case, for ``rich``."""
    from rich.table import Table
    from rich.text import Text

    def case_of(row: Row) -> str:
        return f"{row.suite}: {case_text(row.case)}"

    for title, rows in groupby(results.rows, key=case_of):
        cells = [row_cells(row) for row in rows]
        kept = [i for i in range(len(HEADS)) if any(row[i] for row in cells)]
        table = Table(title=Text(title, style="bold"), title_justify="left", box=None)
        for i in kept:
            left = HEADS[i] in ("contender", "checks")
            table.add_column(HEADS[i], justify="left" if left else "right", no_wrap=left is False)
        for row in cells:
            table.add_row(*(Text(row[i]) for i in kept))
        yield table
