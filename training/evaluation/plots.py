"""Plots as PNG: training curves, ROC and similarities, error against reject, sigma by level."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from facestream.engines.files import write_atomically
from numpy.typing import NDArray

from ..errors import DataError
from .rejection import Monotony, Reject

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Curves = dict[str, Floats]
# Distinct for people with any colour vision (Okabe and Ito, 2008).
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY: Final = "#8a8a8a"
# Not worth a panel.
LEFT_OUT: Final = frozenset({"step", "rate", "lr", "kl_weight", "active"})
METHODS: Final = {
    "sigma": ("sigma", COLOURS[0], "-"),
    "baseline": ("size, sharpness, score (fitted)", COLOURS[1], "-"),
    "sharpness": ("sharpness", COLOURS[2], "-"),
    "oracle": ("the least similar (best possible)", GREY, ":"),
}


def read_curve(path: Path) -> Curves:
    """The columns of a ``curve.csv`` or ``validation.csv``, R numbers each; empty is not a number.

    Raises:
        DataError: missing, empty or no table of numbers by step.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        columns = {
            name: np.array([float(row[name] or "nan") for row in rows])
            for name in (rows[0] if rows else {})
        }
    except FileNotFoundError:
        raise DataError(f"there is no {path}; give the folder of a training run") from None
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} is not a table of numbers: {error}") from error
    if "step" not in columns:
        raise DataError(f"{path} has no steps in it yet")
    return columns


def plot_curves(runs: Mapping[str, Path], path: Path) -> list[str]:
    """Losses and health over the steps, then the figures on held-out people, a panel each.

    Args:
        runs: by name, folders with ``curve.csv`` and ``validation.csv``.

    Returns:
        The figures drawn.

    Raises:
        DataError: a run has no curve.
    """
    trained = {name: read_curve(folder / "curve.csv") for name, folder in runs.items()}
    held = {
        name: read_curve(folder / "validation.csv")
        for name, folder in runs.items()
        if (folder / "validation.csv").is_file()
    }
    parts = [("training", trained, _names(trained)), ("held out", held, _names(held))]
    parts = [part for part in parts if part[2]]
    columns = 4
    heights = [-(-len(names) // columns) for _, _, names in parts]
    figure = new_figure(3.6 * columns, 2.5 * sum(heights) + 0.6)
    blocks = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
    for block, height, (title, curves, names) in zip(blocks, heights, parts, strict=True):
        block.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold")
        panels = block.subplots(height, columns, squeeze=False).ravel()
        for panel, name in zip(panels, names, strict=False):
            _panel(panel, name, curves, list(runs))
        for panel in panels[len(names) :]:
            panel.set_axis_off()
        if block is blocks[0] and len(runs) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            block.legend(
                handles, labels, loc="upper right", ncols=len(runs), frameon=False, fontsize=9
            )
    save_figure(figure, path)
    return [name for _, _, names in parts for name in names]


def plot_verification(
    similarities: Mapping[str, tuple[Floats, Floats]], path: Path, *, threshold: float | None = None
) -> None:
    """Histograms of similarity (of the first model) and the ROC of each.

    Args:
        similarities: by model, those of genuine and of impostor pairs.
        threshold: to mark in the histograms.
    """
    figure = new_figure(10.5, 4.2)
    left, right = figure.subplots(1, 2)
    name, (genuine, impostor) = next(iter(similarities.items()))
    low, high = min(impostor.min(), genuine.min()), max(impostor.max(), genuine.max())
    bins = np.linspace(low, high, 80).tolist()
    left.hist(impostor, bins, density=True, color=COLOURS[1], alpha=0.6, label="different people")
    left.hist(genuine, bins, density=True, color=COLOURS[0], alpha=0.6, label="one person")
    if threshold is not None:
        left.axvline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:.3f}")
    _style(left, xlabel="similarity", title=name)
    left.set_ylim(top=1.3 * left.get_ylim()[1])  # the legend's room
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.legend(frameon=False, fontsize=9)
    lowest = 1.0
    for colour, (name, (genuine, impostor)) in zip(
        _colours(len(similarities)), similarities.items(), strict=True
    ):
        far, tar = roc(genuine, impostor)
        right.plot(far, tar, color=colour, label=name, drawstyle="steps-post")
        lowest = min(lowest, float(np.interp(1e-3, far, tar)), float(tar[0]))
    right.set_xscale("log")
    right.set_ylim(max(0.0, lowest - 0.02), 1.002)
    _style(right, xlabel="false accept rate", title="true accept rate")
    if len(similarities) > 1:
        right.legend(frameon=False, fontsize=9, loc="lower right")
    save_figure(figure, path)


def roc(genuine: Floats, impostor: Floats) -> tuple[Floats, Floats]:
    """False and true accept rates at each impostor's similarity, the strictest first.

    Args:
        genuine: N similarities. impostor: M.

    Returns:
        M rates each; the k-th lets k impostors in.
    """
    cuts = np.sort(np.asarray(impostor, np.float64))[::-1]
    far = np.arange(1, len(cuts) + 1) / len(cuts)
    below = np.searchsorted(np.sort(np.asarray(genuine, np.float64)), cuts, side="left")
    return far, 1 - below / len(genuine)


def plot_rejects(rejects: Sequence[Reject], path: Path) -> None:
    """False non-match rate against the share of probes rejected, a panel for each severity."""
    figure = new_figure(5.2 * len(rejects), 4.2)
    panels = figure.subplots(1, len(rejects), squeeze=False)[0]
    for panel, reject in zip(panels, rejects, strict=True):
        for method, values in reject.curve.items():
            label, colour, line = METHODS.get(method, (method, GREY, "--"))
            panel.plot(
                100 * np.array(reject.shares),
                100 * np.array(values),
                color=colour,
                ls=line,
                marker="o",
                ms=3.5,
                label=label,
            )
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        _style(
            panel,
            xlabel="most uncertain probes rejected, %",
            title=f"FNMR, %, {reject.severity}ly degraded ({reject.genuine:,} pairs)",
        )
    panels[0].legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def plot_sigma(monotony: Monotony, path: Path) -> None:
    """Mean sigma against the level of each kind of degradation."""
    figure = new_figure(5.4, 4.2)
    panel = figure.subplots()
    for colour, (kind, values) in zip(
        _colours(len(monotony.by_level)), monotony.by_level.items(), strict=True
    ):
        panel.plot(
            monotony.levels,
            values,
            color=colour,
            marker="o",
            ms=3.5,
            label=f"{kind} (ρ {monotony.spearman[kind]:.2f})",
        )
    _style(panel, xlabel="level of degradation", title="mean sigma")
    panel.legend(frameon=False, fontsize=9)
    save_figure(figure, path)


def _names(runs: Mapping[str, Curves]) -> list[str]:
    """The columns to draw, the first run's first."""
    names = dict.fromkeys(name for curves in runs.values() for name in curves)
    return [name for name in names if name not in LEFT_OUT]


def _panel(panel: Axes, name: str, runs: Mapping[str, Curves], order: Sequence[str]) -> None:
    colours = dict(zip(order, _colours(len(order)), strict=True))
    drawn = []
    for run, colour in colours.items():
        curves = runs.get(run, {})
        if name not in curves or not np.isfinite(curves[name]).any():
            # An empty line keeps the run in the legend.
            panel.plot([], [], color=colour, label=run)
            continue
        steps, values = curves["step"], curves[name]
        drawn.append(values[np.isfinite(values)])
        smooth = _smoothed(values)
        if smooth is not None:
            panel.plot(steps, values, color=colour, alpha=0.25, lw=0.8)
        panel.plot(
            steps,
            values if smooth is None else smooth,
            color=colour,
            lw=1.6,
            marker="o" if smooth is None and len(steps) < 20 else "",
            ms=3,
            label=run,
        )
    together = np.concatenate(drawn) if drawn else np.ones(1)
    if together.min() > 0 and together.max() > 50 * together.min():
        panel.set_yscale("log")
    _style(panel, xlabel="", title=name.replace("_", " "))


def _smoothed(values: Floats) -> Floats | None:
    """A centred moving average over a tenth of the curve; None for a short one."""
    window = len(values) // 10 | 1
    if window < 5 or not np.isfinite(values).all():
        return None
    padded = np.pad(values, window // 2, mode="edge")
    return np.convolve(padded, np.full(window, 1 / window), mode="valid")


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _style(panel: Axes, *, xlabel: str, title: str) -> None:
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_xlabel(xlabel, fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(visible=True, alpha=0.25, lw=0.6)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    # Matplotlib is slow to import, and most commands draw nothing.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """A PNG, in one step."""
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format="png")
    write_atomically(path, content.getvalue())
