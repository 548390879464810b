"""What ``facestream bench`` shows and writes."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..bench.comparison import Comparison, compare_results
from ..bench.markdown import to_markdown
from ..bench.plots import check_matplotlib, write_plots
from ..bench.results import Results, Row, load_results
from ..bench.stats import spread
from ..bench.suites import SUITES
from ..bench.words import (
    Table,
    case_words,
    check_words,
    comparison_lines,
    comparison_table,
    joules_words,
    machine_lines,
    number,
)
from ..sinks.files import check_writable, make_folder
from .console import stderr, stdout
from .progress import LOG_SECONDS

log = logging.getLogger(__name__)


class Reports:
    """Files that were asked for, checked before anything is measured.

    Raises:
        OutputError: one cannot be written.
        UsageError: the old results cannot be read, or plots cannot be drawn.
    """

    def __init__(
        self, json: Path | None, plot: Path | None, markdown: Path | None, old: Path | None
    ) -> None:
        self._json, self._plot, self._markdown = json, plot, markdown
        for file in (json, markdown):
            if file is not None:
                check_writable(file)
        if plot is not None:
            check_matplotlib()
            make_folder(plot)
        self._old = None if old is None else load_results(old)

    def save(self, results: Results) -> None:
        """The JSON alone; nothing where nothing was measured."""
        if self._json is not None and results.rows:
            results.save(self._json)

    def write(self, results: Results) -> None:
        """Show the results and write all files."""
        self.save(results)
        comparison = None if self._old is None else compare_results(self._old, results)
        _show(results, comparison)
        if self._markdown is not None:
            self._markdown.write_text(to_markdown(results, comparison), encoding="utf-8")
        if self._plot is not None:
            for file in write_plots(results, self._plot):
                stderr().print(f"wrote {file}", markup=False)


class Bar:
    """A progress bar that says what is being measured; a ``Watch``."""

    def __init__(self) -> None:
        self._progress = Progress(
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=stderr(),
            transient=True,
        )
        self._task = self._progress.add_task("", total=0)
        self._steps = 0
        self._told = -LOG_SECONDS

    def expect(self, steps: int) -> None:
        """So many more."""
        self._steps += steps
        self._progress.update(self._task, total=self._steps)

    def doing(self, text: str) -> None:
        """The next step."""
        self._progress.update(self._task, advance=1, description=text)
        now = time.monotonic()
        if not stderr().is_terminal and now > self._told + LOG_SECONDS:
            self._told = now
            log.info("%s", text)

    def __enter__(self) -> Self:
        if stderr().is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is Ctrl-C: the contenders' processes are ended and their files deleted.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warn_of(results: Results) -> None:
    """Say before anything is measured that others use the machine."""
    machine = results.machine
    if machine["busy"]:
        log.warning(
            "the machine is busy (load %.1f on %d cores): figures will be too low and vary",
            machine["load_average"],
            machine["cores"],
        )


def _show(results: Results, comparison: Comparison | None) -> None:
    console = stdout()
    for line in machine_lines(results):
        console.print(line, markup=False)
    for suite in SUITES:
        _show_suite(console, results.of(suite))
    _show_videos(console, results)
    for missing in results.missing:
        console.print(str(missing), markup=False)
    if comparison is not None:
        if comparison.changes:
            _print(console, comparison_table(comparison))
        for line in comparison_lines(comparison):
            console.print(line, markup=False)
            if line.startswith("WARNING"):
                stderr().print(line, markup=False)


def _show_suite(console: Any, rows: list[Row]) -> None:
    """A heading for each case and a line for each contender: it fits a terminal of 80 columns."""
    from rich.table import Table as RichTable
    from rich.text import Text

    for case, own in groupby(rows, key=lambda row: case_words(row.case)):
        table = RichTable(box=None, pad_edge=False, title_justify="left")
        table.title = Text(f"{rows[0].suite}: {case}", style="bold")
        for head in ("contender", "rate", "spread", "takes", "MB", "checked"):
            right = head in ("rate", "spread", "takes", "MB")
            table.add_column(head, justify="right" if right else "left", no_wrap=head != "checked")
        for row in own:
            wide = spread(row.rounds)
            table.add_row(
                row.contender,
                f"{number(row.median)} {row.unit}",
                "–" if wide is None else f"{100 * wide:.0f} %",
                "" if row.slower is None else f"{row.slower.median:.2f}×",
                "" if row.memory_mb is None else number(row.memory_mb),
                Text(check_words(row.checks) + _energy(row), style="dim"),
            )
        console.print(table)
        console.print()


def _energy(row: Row) -> str:
    return f"; {joules_words(row)} an item" if row.joules else ""


def _print(console: Any, table: Table) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(*table.heads, title=table.title)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    console.print(shown)


def _show_videos(console: Any, results: Results) -> None:
    """Where our own time went in the last video, and how long the first result takes."""
    videos = results.videos
    if "start_to_first_result_seconds" in videos:
        seconds = videos["start_to_first_result_seconds"]
        console.print(f"From the start of a process to its first result: {seconds:.2f} s")
    own = [run for run in videos.get("runs", ()) if run["name"] == "facestream"]
    if not own:
        return
    last = own[-1]
    stages = ", ".join(f"{name} {s:.2f} s" for name, s in last["detail"]["stages"].items())
    limiting = last["detail"]["limiting_queue"] or "none, decoding is the slowest"
    console.print(
        f"facestream on {last['video']}: {last['seconds']:.2f} s for {last['frames']} frames; "
        f"in the stages: {stages}; the queue that limits: {limiting}",
        markup=False,
    )
