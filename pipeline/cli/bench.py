"""``facestream bench``: the speed of this machine on a video."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..core.errors import SourceError, UsageError
from .console import say, stderr, stdout, table
from .flags import examples

if TYPE_CHECKING:
    from .bench_results import Comparison, Results, Row

bench_app = typer.Typer()
log = logging.getLogger(__name__)

CHANGE_HEADS = ("case", "contender", "old", "new", "new / old", "noise", "")
SUITES = ("detect", "embed", "search", "e2e", "scale")
# Measures of each round besides the frames per second: key of the worker's answer, name, unit.
_MEASURES = (
    ("latency_p50_ms", "latency p50", "ms"),
    ("latency_p95_ms", "latency p95", "ms"),
    ("peak_memory_mb", "peak memory", "MB"),
    ("start", "start to first result", "s"),
)


@bench_app.command(
    epilog=examples(
        "facestream bench",
        "facestream bench street.mp4 --rounds 5 --json new.json --compare old.json",
        "facestream bench --from new.json --compare old.json",
        "Each round is a fresh process; medians are shown. Latency is the time from the decoding "
        "of a frame to its result at full speed, queues included. The format of the file: "
        "docs/benchmarks.md. Ctrl-C ends the bench and keeps the complete rounds. Other libraries, "
        "parts, sizes and plots: 'python -m benchmarks' in the repository.",
    )
)
def bench(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEO...]",
            help="Video files; without any, the rendered clip of 'facestream demo'.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="Times each video is measured; 3, with --quick 2."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two rounds of at most 100 frames.")
    ] = False,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", metavar="N", min=2, help="Frames of each video.")
    ] = None,
    min_face: Annotated[
        int, typer.Option("--min-face", metavar="PX", min=12, help="Smallest face in pixels.")
    ] = 40,
    every: Annotated[
        int, typer.Option("--detect-every", metavar="N", min=1, help="Search every N-th frame.")
    ] = 1,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
    ] = None,
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="TEXT", help="Add this to the file, e.g. what else ran."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--compare", metavar="OLD.json", help="Mark what changed since then."),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Show this file instead of measuring."),
    ] = None,
    moved: Annotated[
        list[str] | None,
        typer.Option(
            *("--suite", "--plot", "--markdown", "--zoo", "--only", "--contender"),
            *("--peer-frames", "--seconds"),
            hidden=True,
        ),
    ] = None,
    peers: Annotated[bool | None, typer.Option("--peers/--no-peers", hidden=True)] = None,
) -> None:
    """Measure facestream on this machine: speed, latency, memory, and the time of each stage."""
    from ..sinks.files import check_writable
    from .bench_results import Results, compare_results, describe_machine, load_results

    if moved or peers is not None:
        suite = next((value for value in moved or [] if value in (*SUITES, "all")), "NAME")
        raise UsageError(
            "suites, other libraries, plots and Markdown are measured from the repository: "
            f"'python -m benchmarks suite {suite}' (see docs/benchmarks.md)"
        )
    if as_json is not None:
        check_writable(as_json)
    old = None if against is None else load_results(against)
    settings = {
        "detector.min_face": min_face,
        "tracking.detect_every": every,
        "runtime.max_frames": max_frames or (100 if quick else None),
    }
    if measured is not None:
        results = load_results(measured)
    else:
        arguments = {
            "videos": [video.name for video in videos or []],
            "rounds": rounds or (2 if quick else 3),
            "quick": quick,
            **{key.partition(".")[2]: value for key, value in settings.items()},
        }
        results = Results(describe_machine(), arguments, notes=[note] if note else [])
        warn_if_busy(results.machine)
    try:
        if measured is None:
            with TemporaryDirectory(prefix="facestream-bench-") as folder, sigterm_as_interrupt():
                _measure(videos or [], settings, results, Path(folder))
    finally:
        if as_json is not None and results.rows:
            results.save(as_json)
    _show(results, None if old is None else compare_results(old, results))
    if not results.complete and measured is None:
        raise KeyboardInterrupt


def _measure(videos: list[Path], settings: dict[str, Any], results: Results, folder: Path) -> None:
    """Measure the videos in turn, round by round; an interruption keeps the complete rounds. Raises
    FacestreamError if a video is missing or a run failed."""
    from .bench_worker import measure
    from .demo_clip import write_clip

    for video in videos:
        if not video.is_file():
            raise SourceError(f"{video} is not a file; name a video")
    if not videos:
        videos = [folder / "demo.mp4"]
        write_clip(videos[0])
    values = {key: value for key, value in settings.items() if value is not None}
    rounds = results.arguments["rounds"]
    answers: dict[Path, list[dict[str, Any]]] = {video: [] for video in videos}
    try:
        with stderr().status("") as status:
            for number in range(rounds):
                for video, own in answers.items():
                    status.update(f"{video.name}: round {number + 1} of {rounds}")
                    start = measure("start", video, values)["seconds"]
                    own.append({**measure("run", video, values), "start": start})
        results.complete = True
    except KeyboardInterrupt:
        log.warning("interrupted; what was measured until now is kept")
    finally:
        results.rows += [row for video, own in answers.items() if own for row in _rows(video, own)]


def _rows(video: Path, answers: list[dict[str, Any]]) -> Iterator[Row]:
    from .bench_results import Row

    last = answers[-1]
    yield Row(
        suite="e2e",
        contender="facestream",
        case={"video": video.name},
        unit="frames/s",
        rounds=[answer["fps"] for answer in answers],
        memory_mb=max(answer["peak_memory_mb"] for answer in answers),
        checks={"faces_per_frame": round(last["faces"] / last["frames"], 2)},
        detail={
            key: last[key]
            for key in ("frames", "embedded", "stage_shares", "limiting_queue", "backends")
        },
    )
    for key, name, unit in _MEASURES:
        case = {"video": video.name, "measure": name}
        yield Row("e2e", "facestream", case, unit, [answer[key] for answer in answers])


def warn_if_busy(machine: dict[str, Any]) -> None:
    """Warn before anything is measured if other programs use the machine."""
    if machine["busy"]:
        load, cores = machine["load_average"], machine["cores"]
        log.warning("the machine is busy (load %.1f on %d cores): figures vary", load, cores)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, so that processes end and temporary files go.

    For the main thread: Python sets no handlers in others.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def number(value: float) -> str:
    """Three significant digits: ``1,230``, ``45.6``, ``0.0789``."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _show(results: Results, comparison: Comparison | None) -> None:
    from .bench_results import machine_lines

    console = stdout()
    for line in machine_lines(results):
        say(line)
    for row in results.rows:
        if "stage_shares" in row.detail:
            console.print(_table(row, results))
            for line in _stage_lines(row):
                say(line)
    if comparison is not None:
        if comparison.changes:
            console.print(changes_table(comparison))
        for line in comparison.lines:
            (stderr() if line.startswith("WARNING") else console).print(line, markup=False)


def _table(first: Row, results: Results) -> Table:
    from .bench_results import spread

    video = first.case["video"]
    shown = table("", "median", "spread", title=Text(str(video)), right=("median", "spread"))
    for row in (row for row in results.rows if row.case.get("video") == video):
        wide = spread(row.rounds)
        shown.add_row(
            str(row.case.get("measure", "speed")),
            f"{number(row.median)} {row.unit}",
            "–" if wide is None else f"{100 * wide:.0f} %",
        )
    return shown


def _stage_lines(row: Row) -> Iterator[str]:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in row.detail["stage_shares"].items())
    limit = row.detail["limiting_queue"]
    slowest = "decoding" if limit is None else f"the stage that reads the queue '{limit}'"
    yield f"Busy share of each stage: {shares}; the slowest is {slowest}"
    yield (
        f"{row.detail['frames']} frames, {row.checks['faces_per_frame']} faces per frame, "
        f"{row.detail['embedded']} faces embedded; "
        + ", ".join(f"{part}: {name}" for part, name in row.detail["backends"].items())
    )


def changes_table(comparison: Comparison) -> Table:
    """Old and new of each row that both results have."""
    shown = table(*CHANGE_HEADS, title="Then and now")
    for cells in change_cells(comparison):
        shown.add_row(*map(Text, cells))
    return shown


def change_cells(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """A cell for each of ``CHANGE_HEADS``."""
    for change in comparison.changes:
        row = change.row
        yield (
            f"{row.suite}: {case_text(row.case)}",
            row.contender,
            number(change.old),
            f"{number(row.median)} {row.unit}",
            f"{change.ratio:.2f}",
            f"±{100 * change.noise:.0f} %",
            change.mark,
        )


def case_text(case: Any) -> str:
    """``size 720p, batch 8``."""
    return ", ".join(
        f"{name.replace('_', ' ')} " + (f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in case.items()
    )
