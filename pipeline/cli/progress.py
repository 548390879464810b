"""Progress: a live line on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..observability.report import AgeReport, Progress
from .console import clock, plural, stderr

log = logging.getLogger(__name__)

LOG_SECONDS = 5.0
BAR_WIDTH = 16
Snapshot = Callable[[], Progress]


@contextmanager
def show_progress(snapshot: Snapshot, *, every: float = LOG_SECONDS) -> Iterator[None]:
    """Show what ``snapshot`` returns while the block runs; it is called from another thread."""
    if stderr().is_terminal:
        spinner = Spinner("dots")
        with Live(
            get_renderable=lambda: _line(snapshot(), spinner),
            console=stderr(),
            refresh_per_second=5,
            transient=True,
        ):
            yield
        return
    ended = threading.Event()

    def log_regularly() -> None:
        while not ended.wait(every):
            log.info("%s", describe(snapshot()))

    thread = threading.Thread(target=log_regularly, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def show_count(noun: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Yields a function that shows how many things are done, with more text if given.

    ``noun`` names the things in the plural; a total that is known later goes to that function.
    """
    if stderr().is_terminal:
        text = TextColumn(f"{noun} {{task.fields[more]}}", markup=False)
        columns = (BarColumn(), MofNCompleteColumn(), text)
        with Bar(*columns, TimeRemainingColumn(), console=stderr(), transient=True) as bar:
            task = bar.add_task(noun, total=total, more="")

            def show(done: int, more: str = "", *, total: int | None = total) -> None:
                bar.update(task, completed=done, total=total, more=more)

            yield show
        return
    last = time.monotonic()

    def note(done: int, more: str = "", *, total: int | None = total) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            log.info("%s/%s %s %s", done, total, noun, more)

    yield note


def describe(now: Progress) -> str:
    """A snapshot in words."""
    of = f"/{now.total}" if now.total else ""
    files, read = now.files
    parts = [
        *([f"{read}/{files} files"] if files > 1 and not now.states else []),
        f"{now.frames}{of} frames",
        f"{now.fps:.1f} fps",
        plural(now.faces, "face"),
        # Early: a narrow terminal cuts the end.
        *([f"{clock(now.seconds_left)} left"] if now.seconds_left else []),
        "queues " + (" ".join(f"{name} {n}" for name, n in now.queues.items()) or "-"),
        f"dropped {now.dropped}",
    ]
    if now.ages:  # the slowest source where there are several
        name, age = max(now.ages.items(), key=lambda item: item[1].p95)
        parts.append(f"age {milliseconds(age)}" + (f" ({name})" if len(now.ages) > 1 else ""))
    if now.states:
        counts = Counter(now.states.values())
        parts.append(", ".join(f"{count} {state}" for state, count in counts.most_common()))
    return " · ".join(parts)


def milliseconds(age: AgeReport) -> str:
    """``80/140/210 ms``: p50, p95 and p99."""
    return "/".join(f"{1000 * seconds:.0f}" for seconds in (age.p50, age.p95, age.p99)) + " ms"


def _line(now: Progress, spinner: Spinner) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    cells: list[RenderableType] = [spinner]
    if now.total:
        grid.add_column(width=BAR_WIDTH)
        cells.append(ProgressBar(now.total, min(now.frames, now.total), width=BAR_WIDTH))
    # One text, so that a narrow terminal cuts its end and nothing else.
    grid.add_column(no_wrap=True, overflow="ellipsis")
    text = Text(describe(now))
    if now.source is not None:
        text.append(f"  {now.source}", style="dim")
    grid.add_row(*cells, text)
    return grid
