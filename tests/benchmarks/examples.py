"""Results to show, compare and draw, without a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from facestream.pipeline.cli.bench_results import Missing, Ratio, Results, Row, Scalar

MACHINE: dict[str, Any] = {
    "cpu": "Test CPU",
    "cpu_features": ["avx2"],
    "cores": 4,
    "memory_gib": 8.0,
    "system": "Linux 6.1",
    "python": "3.11.0",
    "gpus": [],
    "packages": {"openvino": "2026.4"},
    "load_average": 0.1,
    "busy": False,
}


def row(
    suite: str = "detect",
    contender: str = "facestream fast",
    rounds: Sequence[float] = (100.0, 104.0, 96.0),
    checks: dict[str, Scalar] | None = None,
    **case: Scalar,
) -> Row:
    """A row of 100 pictures a second unless said otherwise."""
    return Row(
        suite=suite,
        contender=contender,
        case=case or {"size": "720p", "batch": 8},
        unit="pictures/s",
        rounds=list(rounds),
        slower=Ratio(1.0, 1.0, 1.0),
        memory_mb=321.5,
        checks=checks or {"recall": 1.0},
    )


def results(*rows: Row, machine: dict[str, Any] | None = None) -> Results:
    """A finished run."""
    return Results(
        machine={**MACHINE, **(machine or {})},
        arguments={"rounds": 3, "seconds": 1.0, "quick": False},
        measured_at="2026-01-02T03:04:05+00:00",
        complete=True,
        rows=list(rows),
        missing=[Missing("detect", "yunet", "its ONNX files are not here", "name them with --zoo")],
    )


def of_several_suites() -> Results:
    """Some rows of each suite with a plot of its own, and of one without."""
    rows = [
        row(size=size, min_face=40, faces="3", batch=batch, contender=name)
        for name in ("facestream fast", "facenet-pytorch")
        for size in ("480p", "720p")
        for batch in (1, 8)
    ]
    rows += [
        row("embed", name, batch=batch)
        for name in ("facestream openvino float32", "onnxruntime float32")
        for batch in (1, 8, 32)
    ]
    rows += [
        row("search", name, templates=count, batch=batch)
        for name in ("facestream flat", "faiss default")
        for count in (1000, 100_000)
        for batch in (1, 32)
    ]
    rows += [row("e2e", "facestream", size="1080p", faces=2, sources=n) for n in (1, 4)]
    rows += [
        row("scale", "facestream", part="detector", threads=n, checks={"times": float(n)})
        for n in (1, 2)
    ]
    rows += [row("views", name, height=720) for name in ("whole", "detect_size 640")]
    return results(*rows)
