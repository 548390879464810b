"""Tables of a run's report: where the time went and which queue holds it back."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from ..observability.report import Report
from .progress import milliseconds


def report_tables(report: Report) -> list[Table | str]:
    """Sources, stages and queues, and a line on memory and start."""
    first = report.first_result_seconds
    started = "no result" if first is None else f"first result after {first:.2f} s"
    limit = report.limiting_queue
    return [
        _sources(report),
        _stages(report),
        _queues(report),
        f"Slowest: {'decoding' if limit is None else f'what reads the queue {limit!r}'} · "
        f"{started} · peak memory {report.peak_memory_bytes / 2**20:.0f} MiB · "
        + ", ".join(f"{name}: {backend}" for name, backend in report.backends.items()),
    ]


def live_table(report: Report) -> Table | None:
    """How the live sources fared; None when there was none."""
    live = [s for s in report.sources if s.state is not None or s.age is not None]
    if not live:
        return None
    columns = ("Source", "State", "Frames", "Dropped", "Restarts", "Age p50/p95/p99")
    table = _table("Live sources", *columns)
    for source in live:
        table.add_row(
            Text(source.name),
            source.state or "–",
            str(source.frames),
            str(sum(source.dropped.values())),
            str(source.restarts),
            "–" if source.age is None else milliseconds(source.age),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _sources(report: Report) -> Table:
    table = _table("Sources", "Source", "Frames", "Expected", "Corrupt", "Seconds")
    for source in report.sources:
        expected = "–" if source.expected is None else str(source.expected)
        numbers = (str(source.frames), expected, str(source.corrupt), f"{source.seconds:.1f}")
        table.add_row(Text(source.name), *numbers)
    return table


def _stages(report: Report) -> Table:
    table = _table("Stages", "Stage", "Seconds", "Busy", "Batches", "ms per frame")
    for name, stage in report.stages.items():
        busy = stage.seconds / report.seconds if report.seconds else 0.0
        each = 1000 * stage.seconds / stage.frames if stage.frames else 0.0
        table.add_row(
            name, f"{stage.seconds:.2f}", f"{busy:.0%}", str(stage.batches), f"{each:.1f}"
        )
    return table


def _queues(report: Report) -> Table:
    table = _table("Queues", "Queue", "Capacity", "Most", "Writers waited s", "Readers waited s")
    for name, queue in report.queues.items():
        table.add_row(
            name,
            str(queue.capacity),
            str(queue.high_water),
            f"{queue.blocked_seconds:.2f}",
            f"{queue.waited_seconds:.2f}",
        )
    return table
