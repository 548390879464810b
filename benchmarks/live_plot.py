"""The curve of the live benchmark as a picture: accuracy, cost and cameras against N."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .plots import figure_class


def plot(report: dict[str, Any], file: Path) -> None:
    """Write a PNG (matplotlib, of the 'train' extra).

    Args:
        report: as the ``live`` benchmark writes it, with the part ``curve``.
        file: where to.
    """
    rows = sorted(report["curve"]["rows"], key=lambda r: int(r["detect_every"]))
    every = [row["detect_every"] for row in rows]
    figure = figure_class()(figsize=(11, 3.6), layout="constrained")
    accuracy, delay, cost = figure.subplots(1, 3)
    labels = {
        "idf1_tracks": "IDF1 of tracks",
        "idf1_names": "IDF1 of names",
        "sightings_named_right": "sightings named right",
        "strangers_named": "strangers named",
    }
    for key, label in labels.items():
        accuracy.plot(every, [row[key] for row in rows], marker="o", label=label)
    accuracy.set(title="People followed and named", ylim=(0, 1.02))
    for key, label in {"time_to_name_p50": "p50", "time_to_name_p90": "p90"}.items():
        delay.plot(every, [row[key] for row in rows], marker="o", label=label)
    delay.set(title="Seconds from full view to name", ylim=(0, None))
    used = [row["cpu_per_video_second"] for row in rows]
    cost.plot(every, used, marker="o", label="CPU s per s of video")
    cost.set(title="Cost", ylim=(0, None))
    most = report.get("cameras", {}).get("most")
    if most:
        beside = cost.twinx()
        counts = [int(most.get(str(n), 0)) for n in every]
        beside.plot(every, counts, marker="s", color="tab:red", label="cameras kept up with")
        beside.set(ylim=(0, None))
        # One legend for both scales: drawn by the axes that lie above.
        handles = [*cost.get_lines(), *beside.get_lines()]
        beside.legend(handles=handles, loc="upper center", fontsize="small")
    for axes in (accuracy, delay) if most else (accuracy, delay, cost):
        axes.legend(loc="best", fontsize="small")
    for axes in (accuracy, delay, cost):
        axes.set(xscale="log", xlabel="every N-th frame is searched")
        axes.set_xticks(every, [str(n) for n in every], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
