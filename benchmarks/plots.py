"""Results as plots: one per suite, as PNG and SVG."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.cli.bench import case_text
from facestream.pipeline.cli.bench_results import Results, Row
from facestream.pipeline.core.errors import UsageError

from .suites.scale import grows


def figure_class() -> Any:
    """matplotlib's ``Figure``.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise UsageError(
            f"plots need matplotlib ({error}); install it with: pip install 'facestream[bench]'"
        ) from error


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Draw each suite that has rows.

    Returns:
        The files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    files = []
    for suite in dict.fromkeys(row.suite for row in results.rows):
        figure = figure_class()(figsize=(11, 5), layout="constrained")
        _DRAW.get(suite, _bars)(figure, [row for row in results.rows if row.suite == suite])
        busy = ", beside other work" if results.machine.get("busy") else ""
        where = f"{results.machine['cpu']}, {results.machine['cores']} cores"
        figure.suptitle(f"{suite}\n{where}, {results.measured_at}{busy}", fontsize="medium")
        for ending in ("png", "svg"):
            files.append(folder / f"{suite}.{ending}")
            figure.savefig(files[-1], dpi=120)
    return files


def _bars(figure: Any, rows: Sequence[Row]) -> None:
    """A group per case, a bar per contender, with the range of the rounds."""
    axes = figure.subplots()
    cases = list(dict.fromkeys(case_text(row.case) for row in rows))
    names = list(dict.fromkeys(row.contender for row in rows))
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        own = [row for row in rows if row.contender == name]
        at = [cases.index(case_text(row.case)) + (place + 0.5) * height - 0.4 for row in own]
        rates = [row.median for row in own]
        axes.barh(at, rates, height, xerr=_range(own), label=name, error_kw={"elinewidth": 0.8})
    axes.set_yticks(range(len(cases)), cases, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel=rows[0].unit, xlim=(0, None))
    axes.grid(alpha=0.3, axis="x")
    figure.legend(fontsize="small", loc="outside lower center", ncols=4)
    figure.set_size_inches(11, max(4.0, 1.5 + 0.16 * len(names) * len(cases)))


def _embed(figure: Any, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    _lines(axes, rows, "batch")
    axes.set(xlabel="faces per batch", ylabel="faces/s", xscale="log", ylim=(0, None))
    _ticks(axes, rows, "batch")
    axes.legend(fontsize="small")


def _search(figure: Any, rows: Sequence[Row]) -> None:
    batches = sorted({_value(row, "batch") for row in rows})
    several = np.atleast_1d(figure.subplots(1, len(batches), sharey=True))
    for axes, batch in zip(several, batches, strict=True):
        _lines(axes, [row for row in rows if _value(row, "batch") == batch], "templates")
        axes.set(xlabel="templates", xscale="log", yscale="log", title=f"batches of {batch:.0f}")
    several[0].set(ylabel="queries/s")
    several[0].legend(fontsize="small")


def _scale(figure: Any, rows: Sequence[Row]) -> None:
    """The rate over that of the least, for each part and what grows; the diagonal is ideal."""
    kinds = list(dict.fromkeys((str(row.case["part"]), grows(row.case)) for row in rows))
    several = np.atleast_1d(figure.subplots(1, len(kinds)))
    for axes, (part, what) in zip(several, kinds, strict=True):
        own = [row for row in rows if (row.case["part"], grows(row.case)) == (part, what)]
        highest = 1.0
        for name in dict.fromkeys(row.contender for row in own):
            mine = sorted(
                (_value(row, what), float(str(row.checks.get("times", 1))))
                for row in own
                if row.contender == name
            )
            axes.plot(*zip(*mine, strict=True), marker="o", label=name)
            highest = max(highest, *(times for _, times in mine))
        most = max(_value(row, what) for row in own)
        axes.plot([1, most], [1, most], color="grey", linestyle=":", label="in proportion")
        axes.set(title=part, xlabel=what, xscale="log", ylim=(0, 1.3 * highest + 0.5))
        _ticks(axes, own, what)
        axes.grid(alpha=0.3)
    several[0].set(ylabel="rate / rate of the least")
    several[0].legend(fontsize="small")


def _lines(axes: Any, rows: Sequence[Row], along: str) -> None:
    for name in dict.fromkeys(row.contender for row in rows):
        own = sorted((r for r in rows if r.contender == name), key=lambda r: _value(r, along))
        at = [_value(row, along) for row in own]
        axes.errorbar(at, [r.median for r in own], yerr=_range(own), marker="o", label=name)
    axes.grid(alpha=0.3)


def _range(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """From the median down to the worst round, and up to the best."""
    return (
        [row.median - min(row.rounds) for row in rows],
        [max(row.rounds) - row.median for row in rows],
    )


def _value(row: Row, along: str) -> float:
    return float(str(row.case[along]))


def _ticks(axes: Any, rows: Sequence[Row], along: str) -> None:
    """At what was measured."""
    places = sorted({_value(row, along) for row in rows})
    axes.set_xticks(places, [f"{place:.0f}" for place in places], minor=False)
    axes.minorticks_off()


_DRAW = {"embed": _embed, "search": _search, "scale": _scale}
