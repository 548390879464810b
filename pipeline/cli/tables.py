"""Tables of a run's report: where the time went and which queue holds it back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from ..observability.report import Report
from .console import plural, table
from .progress import milliseconds


def report_tables(report: Report) -> list[Table | str]:
    """Sources, stages and queues, and a line on memory and start."""
    first = report.first_result_seconds
    started = "no result" if first is None else f"first result after {first:.2f} s"
    limit = report.limiting_queue
    sources = [
        (s.name, s.frames, "–" if s.expected is None else s.expected, s.corrupt, f"{s.seconds:.1f}")
        for s in report.sources
    ]
    seconds = report.seconds
    stages = [
        (
            name,
            f"{stage.seconds:.2f}",
            f"{stage.seconds / seconds if seconds else 0:.0%}",
            stage.batches,
            f"{1000 * stage.seconds / stage.frames if stage.frames else 0:.1f}",
        )
        for name, stage in report.stages.items()
    ]
    queues = [
        (name, q.capacity, q.high_water, f"{q.blocked_seconds:.2f}", f"{q.waited_seconds:.2f}")
        for name, q in report.queues.items()
    ]
    return [
        _table("Sources", ("Source", "Frames", "Expected", "Corrupt", "Seconds"), sources),
        _table("Stages", ("Stage", "Seconds", "Busy", "Batches", "ms per frame"), stages),
        _table(
            "Queues", ("Queue", "Capacity", "Most", "Writers waited s", "Readers waited s"), queues
        ),
        f"Slowest: {'decoding' if limit is None else f'what reads the queue {limit!r}'} · "
        f"{started} · peak memory {report.peak_memory_bytes / 2**20:.0f} MiB · "
        + ", ".join(f"{name}: {backend}" for name, backend in report.backends.items()),
    ]


def live_table(report: Report) -> Table | None:
    """How the live sources fared; None when there was none."""
    rows = [
        (
            source.name,
            source.state or "–",
            source.frames,
            sum(source.dropped.values()),
            source.restarts,
            "–" if source.age is None else milliseconds(source.age),
        )
        for source in report.sources
        if source.state is not None or source.age is not None
    ]
    columns = ("Source", "State", "Frames", "Dropped", "Restarts", "Age p50/p95/p99")
    return _table("Live sources", columns, rows) if rows else None


def limit_lines(report: Report) -> list[str]:
    """What the limits left out, a line for each source; not what the end of the run left out."""
    lines = []
    for source in report.sources:
        over = {cause: n for cause, n in sorted(source.left_out.items()) if cause != "busy"}
        if any(over.values()):
            causes = ", ".join(f"{cause} {n:,}" for cause, n in over.items())
            faces = plural(sum(over.values()), "face")
            lines.append(f"{source.name}: {faces} left out by the limits ({causes})")
    return lines


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    shown = table(*columns, title=title, right=columns[1:])
    for row in rows:
        shown.add_row(*(Text(str(cell)) for cell in row))
    return shown
