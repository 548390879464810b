"""Runs contenders in turn, each in a fresh process, and compares them pair by pair."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from .contenders import Task
from .launch import python
from .machine import describe

Progress = Callable[[str], None]
Run = dict[str, Any]


class ContenderFailed(RuntimeError):
    """A contender's process ended with an error; the message is its last line."""


def compare(
    names: Sequence[str],
    tasks: Sequence[Task],
    *,
    rounds: int,
    frame_limits: dict[str, int] | None = None,
    on_progress: Progress = lambda text: None,
) -> dict[str, Any]:
    """Measure every contender on every task, round after round (A B C, A B C, …).

    The machine's speed drifts, so contenders are compared within a round, and the median of the
    rounds' ratios is what counts.

    Args:
        names: see ``contenders()``; the first is what the others are compared with.
        tasks: one per video.
        rounds: at least 1.
        frame_limits: fewer frames for contenders that are slow.
        on_progress: told what is being measured.

    Returns:
        A dictionary for JSON: machine, runs, the time from a process's start to its first result,
        and a summary per video; ``speed_ratio`` says how many times faster than the contender the
        first one is.

    Raises:
        ContenderFailed: a contender's process failed.
    """
    runs = [
        run
        for task in tasks
        for run in in_turn(
            names, task, rounds=rounds, frame_limits=frame_limits, on_progress=on_progress
        )
    ]
    starts = [measure("facestream-start", tasks[0])["seconds"] for _ in range(rounds)]
    return {
        "machine": describe(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "start_to_first_result_seconds": statistics.median(starts),
        "summary": [summary(task, names, runs) for task in tasks],
        "runs": runs,
    }


def in_turn(
    names: Sequence[str],
    task: Task,
    *,
    rounds: int,
    frame_limits: dict[str, int] | None = None,
    on_progress: Progress = lambda text: None,
) -> Iterator[Run]:
    """The runs of one task as they are done; see ``compare``."""
    for turn in range(rounds):
        for name in names:
            on_progress(f"{task.video.name}: {name}, round {turn + 1} of {rounds}")
            limit = (frame_limits or {}).get(name)
            own = task if limit is None else replace(task, max_frames=_least(task, limit))
            yield {"round": turn, **measure(name, own)}


def measure(name: str, task: Task) -> Run:
    """One contender over one video in a process of its own.

    Raises:
        ContenderFailed: it did not work.
    """
    asked = replace(task, asked_at=time.time())
    request = json.dumps({"name": name, "task": asdict(asked)}, default=str)
    ran = subprocess.run(
        python("facestream.pipeline.bench.worker"),
        input=request,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise ContenderFailed(f"{name} on {task.video}: {lines[-1]}")
    result: Run = json.loads(ran.stdout.splitlines()[-1])
    return result


def _least(task: Task, limit: int) -> int:
    return limit if task.max_frames is None else min(task.max_frames, limit)


def summary(task: Task, names: Sequence[str], runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over a video's runs, as many of each contender."""
    mine = [run for run in runs if run["video"] == task.video.name]
    by_name = {name: [run for run in mine if run["name"] == name] for name in names}
    reference = by_name[names[0]]
    rows = {}
    for name, own in by_name.items():
        ratios = [a["fps"] / b["fps"] for a, b in zip(reference, own, strict=True)]
        rows[name] = {
            "fps": statistics.median(run["fps"] for run in own),
            "faces_per_frame": statistics.median(run["faces"] / run["frames"] for run in own),
            "peak_memory_mb": statistics.median(run["peak_memory_mb"] for run in own),
            "load_seconds": statistics.median(run["load_seconds"] for run in own),
            "speed_ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
    return {"video": task.video.name, "min_face": task.min_face, "contenders": rows}
