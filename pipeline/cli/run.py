"""``facestream run``: outputs, progress, a clean stop, and the summary."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Settings, default_gallery_path, load_settings
from ..errors import OutputError, SourceError
from ..pipeline import Pipeline
from ..report import Report
from ..sinks.base import Sink
from ..sinks.files import check_writable, make_folder
from ..sinks.jsonl import JsonlSink
from ..sinks.pictures import PicturesSink
from ..sinks.video import VideoSink
from ..sources import expand_sources
from .console import muted, plural, stderr, stdout
from .gate import BAD_INPUT, INTERRUPTED
from .progress import show_progress
from .roll import RollSink, people_table
from .signals import stopping_on_signals
from .tables import report_tables

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    sources: Sequence[str]
    gallery: Path | None
    out: Path | None
    annotate: Path | None
    events: str | None
    report: Path | None
    video: bool
    verbose: bool


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go; each part may be missing."""

    sinks: tuple[Sink, ...]
    roll: RollSink
    video: VideoSink | None
    files: tuple[Path, ...]
    report: Path | None


def run_sources(request: Request, *, config: Path | None, flags: Mapping[str, Any]) -> int:
    """Run the pipeline over the sources; returns the exit status.

    Raises:
        UsageError: a source, output, setting or gallery cannot be used.
        StageFailed: the run broke.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    gallery = chosen_gallery(request.gallery)
    outputs = open_outputs(request)
    with ExitStack() as stack:
        for sink in outputs.sinks:
            # The pipeline closes them after a run; this is for one that never begins.
            stack.callback(sink.close)
        pipeline = stack.enter_context(
            Pipeline(request.sources, gallery=gallery, settings=settings, sinks=outputs.sinks)
        )
        stack.enter_context(stopping_on_signals(pipeline.stop))
        if len(request.sources) == 1:
            # What is wrong with the only source is told once, at the end, which is then at hand.
            stack.enter_context(muted("facestream.pipeline.reader"))
        with show_progress(pipeline.progress):
            report = pipeline.run()
        # Still with the signals caught: a Ctrl-C just now does not cost the summary.
        if nothing_read(report):
            raise SourceError(nothing_read(report))
        announce_gallery(request.gallery, gallery)
        if outputs.report is not None:
            write_report(outputs.report, report, settings, outputs.roll)
        _summarise(request, report, outputs)
        return exit_status(report)


def chosen_gallery(given: Path | None) -> Path | None:
    """The gallery asked for, else the default one where there is one."""
    if given is not None:
        return given
    default = default_gallery_path()
    return default if default.is_file() else None


def announce_gallery(given: Path | None, used: Path | None) -> None:
    """Say which gallery served where nobody named one; said last, after what can go wrong."""
    if used is None:
        log.info("no gallery, everybody is unknown: 'facestream gallery add NAME PHOTO' makes one")
    elif given is None:
        log.info("used the gallery %s", used)


def open_outputs(request: Request) -> Outputs:
    """Make the sinks; nothing of an earlier run is changed yet.

    Raises:
        OutputError: one of them cannot be written, or is also a source.
    """
    folder = None if request.out is None else make_folder(request.out)
    events, annotate, report = request.events, request.annotate, request.report
    if folder is not None:
        events = events or str(folder / "events.jsonl")
        report = report or folder / "report.json"
        if request.video:
            annotate = annotate or folder / "annotated.mp4"
    if report is not None:
        check_writable(report)
    names = _source_files(request.sources)
    for path in (annotate, events, report):
        if path is not None and Path(path).resolve() in names:
            raise OutputError(f"{path} is a source of this run; write the output elsewhere")
    roll = RollSink()
    inner: list[Sink] = [roll]
    files = []
    if events is not None:
        inner.append(JsonlSink(events))
        files += [Path(events)] if events != "-" else []
    video = None
    if annotate is not None:
        video = VideoSink(annotate, naming="single" if len(names) <= 1 else "per_source")
        inner.append(video)
    if folder is not None:
        base = Path(events).parent if events not in (None, "-") else None
        roll.pictures_below = base
        inner = [PicturesSink(folder / "pictures", then=inner, relative_to=base)]
    return Outputs(tuple(inner), roll, video, tuple(files), report)


def _source_files(sources: Sequence[str]) -> list[Path]:
    """Every single source, as a path; those that do not exist are reported by the run."""
    found: list[Path] = []
    for source in sources:
        try:
            for spec in expand_sources([source]):
                # A folder of pictures is one source of many files.
                found.append(Path(spec.location).resolve())
        except SourceError:
            found.append(Path(source).resolve())
    return found


def write_report(path: Path, report: Report, settings: Settings, roll: RollSink) -> None:
    """Write counts, times, people and settings as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "report": report.to_dict(),
        "people": [person.to_dict() for person in roll.people()],
        "settings": settings.model_dump(mode="json"),
    }
    try:
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def nothing_read(report: Report) -> str:
    """What was wrong when no source gave a single frame; empty when one did."""
    if report.frames or report.interrupted or not report.problems:
        return ""
    first = report.problems[0]
    return first if len(report.sources) == 1 else f"no source can be read; the first: {first}"


def exit_status(report: Report) -> int:
    """What the run's end means to a shell."""
    if report.interrupted:
        return INTERRUPTED
    return BAD_INPUT if report.problems else 0


def _summarise(request: Request, report: Report, outputs: Outputs) -> None:
    console = stderr() if request.events == "-" else stdout()
    if report.frames:
        console.print(people_table(outputs.roll.people()))
    files = list(outputs.files)
    if outputs.video is not None:
        files += outputs.video.paths.values()
    if outputs.report is not None:
        files.append(outputs.report)
    if files:
        written = ", ".join(str(path) for path in files)
        console.print(f"Wrote {written}", soft_wrap=True, markup=False)
    console.print(headline(report), soft_wrap=True, markup=False)
    if request.verbose:
        console.print(*report_tables(report), sep="\n")
    for source in report.sources:
        if source.problem is not None:
            stderr().print(f"facestream: {source.problem}", soft_wrap=True, markup=False)


def headline(report: Report) -> str:
    """The run in one line."""
    parts = [
        plural(report.frames, "frame"),
        plural(report.faces, "face"),
        plural(report.sightings, "sighting"),
        f"{report.seconds:.1f} s, {report.fps:.1f} fps",
    ]
    dropped = sum(report.dropped.values())
    if dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(report.dropped.items()))
        parts.append(f"{dropped} dropped ({causes})")
    line = " · ".join(parts)
    return f"Interrupted after {line}" if report.interrupted else line
