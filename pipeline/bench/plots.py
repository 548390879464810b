"""Results as pictures: one a suite, each as PNG and SVG."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import UsageError
from .results import Results, Row
from .suites.roofline import peaks
from .suites.scale import grows
from .words import case_words


def check_matplotlib() -> None:
    """Whether there can be plots.

    Raises:
        UsageError: matplotlib is not installed.
    """
    _figure_class()


def write_plots(results: Results, folder: Path) -> list[Path]:
    """A PNG and an SVG for each suite that has rows.

    Returns:
        The files.

    Raises:
        UsageError: matplotlib is not installed.
    """
    files = []
    for suite, draw in _DRAWN.items():
        rows = results.of(suite)
        if not rows:
            continue
        figure = _figure_class()(figsize=(11, 5), layout="constrained")
        draw(figure, rows)
        busy = ", beside other work" if results.machine.get("busy") else ""
        where = f"{results.machine['cpu']}, {results.machine['cores']} cores"
        figure.suptitle(f"{suite}\n{where}, {results.measured_at}{busy}", fontsize="medium")
        for ending in ("png", "svg"):
            files.append(folder / f"{suite}.{ending}")
            figure.savefig(files[-1], dpi=120)
    return files


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise UsageError(
            f"plots need matplotlib ({error}); install it with: pip install 'facestream[bench]'"
        ) from error


def _bars(figure: Any, rows: Sequence[Row]) -> None:
    """A group a case, a bar a contender; whiskers from the worst round to the best."""
    axes = figure.subplots()
    cases = list(dict.fromkeys(case_words(row.case) for row in rows))
    names = list(dict.fromkeys(row.contender for row in rows))
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        own = [row for row in rows if row.contender == name]
        at = [cases.index(case_words(row.case)) + (place + 0.5) * height - 0.4 for row in own]
        low = [row.median - min(row.rounds) for row in own]
        high = [max(row.rounds) - row.median for row in own]
        rates = [row.median for row in own]
        axes.barh(at, rates, height, xerr=[low, high], label=name, error_kw={"elinewidth": 0.8})
    axes.set_yticks(range(len(cases)), cases, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel=rows[0].unit, xlim=(0, None))
    axes.grid(alpha=0.3, axis="x")
    figure.legend(fontsize="small", loc="outside lower center", ncols=4)
    figure.set_size_inches(11, max(4.0, 1.5 + 0.16 * len(names) * len(cases)))


def _embed(figure: Any, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    _lines(axes, rows, "batch")
    axes.set(xlabel="faces at a time", ylabel="faces/s", xscale="log", ylim=(0, None))
    _at(axes, rows, "batch")
    axes.legend(fontsize="small")


def _search(figure: Any, rows: Sequence[Row]) -> None:
    batches = sorted({int(str(row.case["batch"])) for row in rows})
    several = np.atleast_1d(figure.subplots(1, len(batches), sharey=True))
    for axes, batch in zip(several, batches, strict=True):
        _lines(axes, [row for row in rows if row.case["batch"] == batch], "templates")
        axes.set(xlabel="templates", xscale="log", yscale="log", title=f"batches of {batch}")
        axes.grid(alpha=0.3)
    several[0].set(ylabel="queries/s")
    several[0].legend(fontsize="small")


def _scale(figure: Any, rows: Sequence[Row]) -> None:
    """How many times the rate of the least, for each part and what grows; the diagonal is ideal."""
    kinds = list(dict.fromkeys((str(row.case["part"]), grows(row.case)) for row in rows))
    several = np.atleast_1d(figure.subplots(1, len(kinds)))
    for axes, (part, what) in zip(several, kinds, strict=True):
        own = [row for row in rows if (row.case["part"], grows(row.case)) == (part, what)]
        for name in dict.fromkeys(row.contender for row in own):
            mine = sorted(
                (float(str(row.case[what])), float(str(row.checks.get("times", 1))))
                for row in own
                if row.contender == name
            )
            axes.plot(*zip(*mine, strict=True), marker="o", label=name)
        most = max(float(str(row.case[what])) for row in own)
        axes.plot([1, most], [1, most], color="grey", linestyle=":", label="in proportion")
        highest = max(float(str(row.checks.get("times", 1))) for row in own)
        axes.set(title=part, xlabel=what, xscale="log", ylim=(0, 1.3 * highest + 0.5))
        _at(axes, own, what)
        axes.grid(alpha=0.3)
    several[0].set(ylabel="times the rate of the least")
    several[0].legend(fontsize="small")


def _roofline(figure: Any, rows: Sequence[Row]) -> None:
    axes = figure.subplots()
    if not any("intensity" in row.checks or peaks(rows, row.contender) for row in rows):
        axes.set(title="neither peaks nor networks were measured")
        return
    intensities = np.logspace(-1, 3.2, 100)
    for number, name in enumerate(dict.fromkeys(row.contender for row in rows)):
        colour, label, most = f"C{number}", name, peaks(rows, name)
        if most is not None:
            label = f"{name}: {most[0]:,.0f} GFLOP/s, {most[1]:,.0f} GB/s"
            axes.plot(intensities, np.minimum(most[0], most[1] * intensities), color=colour)
        axes.plot([], [], color=colour, marker="o", label=label)
        for row in rows:
            if row.contender != name or "intensity" not in row.checks:
                continue
            at = (float(str(row.checks["intensity"])), row.median)
            axes.plot(*at, marker="o", color=colour)
            text = f"{row.case['work']} ×{row.case['batch']}"
            axes.annotate(text, at, fontsize="x-small", xytext=(4, 3), textcoords="offset points")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations for each byte that must travel (weights, inputs, outputs)",
        ylabel="GFLOP/s",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small", loc="lower right")


def _lines(axes: Any, rows: Sequence[Row], along: str) -> None:
    for name in dict.fromkeys(row.contender for row in rows):
        own = sorted(
            (row for row in rows if row.contender == name),
            key=lambda row: float(str(row.case[along])),
        )
        at = [float(str(row.case[along])) for row in own]
        low = [row.median - min(row.rounds) for row in own]
        high = [max(row.rounds) - row.median for row in own]
        axes.errorbar(at, [r.median for r in own], yerr=[low, high], marker="o", label=name)
    axes.grid(alpha=0.3)


def _at(axes: Any, rows: Sequence[Row], along: str) -> None:
    """Ticks where something was measured."""
    places = sorted({int(str(row.case[along])) for row in rows})
    axes.set_xticks(places, [str(place) for place in places], minor=False)
    axes.minorticks_off()


_DRAWN: dict[str, Callable[[Any, Sequence[Row]], None]] = {
    "detect": _bars,
    "embed": _embed,
    "search": _search,
    "e2e": _bars,
    "scale": _scale,
    "roofline": _roofline,
}
