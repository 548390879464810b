"""Watches a running program from outside: /proc, its metrics, its events."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

EVERY = 5.0
"""Seconds from one sample to the next."""
BOUNDS = {
    "memory_mb_per_minute": 1.0,
    "fd_drift": 2.0,
    "thread_drift": 1.0,
    "age_p99_seconds": 1.0,
    "recovery_seconds": 5.0,
    "stop_seconds": 5.0,
}
Scrape = dict[str, list[tuple[dict[str, str], float]]]


class Recovered(Protocol):
    """A fault, as far as the verdict needs it."""

    recovered: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The program at a moment.

    Attributes:
        at: seconds from the start.
        rss_mb: resident memory.
        fds: open file descriptors.
        threads: native ones included.
        cpu_seconds: used so far.
        states: of each camera.
        restarts: of each camera, so far.
        results: of each camera, so far.
    """

    at: float
    rss_mb: float
    fds: int
    threads: int
    cpu_seconds: float
    states: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, float] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)


class Sampler:
    """Reads how the program is.

    Args:
        pid: of the program.
        port: where it serves its metrics.
        events: the file it writes them to.
    """

    def __init__(self, pid: int, port: int, events: Path) -> None:
        self.samples: list[Sample] = []
        self._proc = Path(f"/proc/{pid}")
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._events = events
        self._began = time.monotonic()
        self._next = 0.0
        self.ages: dict[str, dict[str, float]] = {}

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def scrape(self) -> Scrape:
        """The metrics now."""
        with urllib.request.urlopen(self._url, timeout=10) as answer:
            return parse(answer.read().decode())

    def results(self, camera: str) -> float:
        """Results of this camera so far."""
        return _by(self.scrape(), "facestream_frames_out_total", "source").get(camera, 0.0)

    def wait_live(self, cameras: Iterable[str]) -> None:
        """Wait until every camera has had results.

        Raises:
            TimeoutError: one has none after a minute.
        """
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                out = _by(self.scrape(), "facestream_frames_out_total", "source")
            except OSError:  # it does not serve yet
                out = {}
            if all(out.get(camera, 0) >= 2 for camera in cameras):
                self._began = time.monotonic()
                return
            time.sleep(0.2)
        raise TimeoutError("not every camera had a result within a minute")

    def sample(self) -> None:
        """Take a sample where one is due."""
        if self.seconds() < self._next:
            return
        self._next = self.seconds() + EVERY
        found = self.scrape()
        status = (self._proc / "status").read_text()
        ticks = (self._proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        states = {
            labels["source"]: labels["state"]
            for labels, value in found.get("facestream_source_state", [])
            if value
        }
        self.samples.append(
            Sample(
                at=round(self.seconds(), 1),
                rss_mb=round(_status(status, "VmRSS") / 1024, 1),
                fds=sum(1 for _ in (self._proc / "fd").iterdir()),
                threads=_status(status, "Threads"),
                cpu_seconds=sum(map(int, ticks)) / 100,
                states=states,
                restarts=_by(found, "facestream_source_restarts_total", "source"),
                results=_by(found, "facestream_frames_out_total", "source"),
            )
        )
        self.ages = ages(found)

    def count_events(self) -> dict[str, int]:
        """Kinds of events in the newest file; every line must be JSON."""
        lines = self._events.read_text(encoding="utf-8").splitlines()
        return dict(Counter(json.loads(line)["type"] for line in lines))


def summary(
    sampler: Sampler,
    faults: Sequence[Recovered],
    *,
    warm_up: float,
    alive: bool,
    ended: dict[str, Any],
) -> dict[str, Any]:
    """What the samples say, and whether the bounds were kept.

    Args:
        sampler: with all its samples.
        faults: that were injected.
        warm_up: minutes that are left out.
        alive: the program ran to the end.
        ended: how it stopped: ``seconds`` and ``status``.
    """
    kept = [s for s in sampler.samples if s.at >= warm_up * 60] or sampler.samples
    minutes = np.array([s.at / 60 for s in kept])
    recoveries = sorted(f.recovered for f in faults if f.recovered is not None)
    measured = {
        "memory_mb_per_minute": _slope(minutes, [s.rss_mb for s in kept]),
        "fd_drift": _drift([s.fds for s in kept]),
        "thread_drift": _drift([s.threads for s in kept]),
        "age_p99_seconds": max((a["p99"] for a in sampler.ages.values()), default=float("inf")),
        "recovery_seconds": recoveries[-1] if recoveries else 0.0,
        "stop_seconds": ended["seconds"],
    }
    never = sum(fault.recovered is None for fault in faults)
    broken = [name for name, bound in BOUNDS.items() if measured[name] > bound]
    broken += ["the program ended early"] if not alive else []
    broken += [f"{never} cameras did not come back"] if never else []
    first, last = kept[0], kept[-1]
    cpu = (last.cpu_seconds - first.cpu_seconds) / max(last.at - first.at, 1e-9)
    return {
        "bounds": BOUNDS,
        "measured": measured,
        "verdict": "kept" if not broken else f"broken: {', '.join(broken)}",
        "memory_mb": {"first": first.rss_mb, "last": last.rss_mb},
        "cpu_cores": round(cpu, 2),
        "age_seconds": sampler.ages,
        "recovery": {
            "faults": len(faults),
            "median": float(np.median(recoveries)) if recoveries else None,
            "longest": recoveries[-1] if recoveries else None,
        },
        "stop": ended,
    }


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parse(text: str) -> Scrape:
    """The samples of Prometheus' text format by name."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return found


def ages(found: Scrape) -> dict[str, dict[str, float]]:
    """Quantiles of the age of frames, by camera: the upper bound of the bucket they lie in."""
    buckets: dict[str, list[tuple[float, float]]] = {}
    for labels, count in found.get("facestream_frame_age_seconds_bucket", []):
        buckets.setdefault(labels["source"], []).append((float(labels["le"]), count))
    quantiles = {}
    for source, steps in buckets.items():
        total = max(count for _, count in steps)
        quantiles[source] = {
            f"p{q}": min(bound for bound, count in steps if count >= total * q / 100)
            for q in (50, 95, 99)
        }
    return quantiles


def _by(found: Scrape, family: str, label: str) -> dict[str, float]:
    return {labels[label]: value for labels, value in found.get(family, []) if label in labels}


def _status(text: str, key: str) -> int:
    return int(re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]


def _slope(minutes: np.ndarray[Any, Any], values: Sequence[float]) -> float:
    """By least squares; 0 for a single value."""
    return round(float(np.polyfit(minutes, values, 1)[0]), 3) if len(values) > 1 else 0.0


def _drift(values: Sequence[int]) -> float:
    """Median of the last quarter less that of the first."""
    quarter = max(1, len(values) // 4)
    return float(np.median(values[-quarter:]) - np.median(values[:quarter]))
