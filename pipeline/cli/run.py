"""``facestream run``: outputs, progress, a clean stop, and the summary."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..analysis import FaceAnalyzer
from ..core.addresses import Address
from ..core.config import Settings, default_gallery_path, load_settings
from ..core.errors import ConfigError, OutputError, SourceError, UsageError
from ..core.location import Location, locate
from ..core.versions import facestream_version
from ..gallery import Gallery
from ..identity.grouping import open_grouping
from ..ingest.readers import SourceList, list_sources
from ..ingest.watched_folder import WatchedFolder
from ..metrics.families import BUILD_INFO, OUTPUT_DROPPED
from ..observability.report import OutputReport, Report
from ..observability.runtime_info import RuntimeInfo
from ..pipeline import Pipeline
from ..sinks.base import Sink, needs_of
from ..sinks.files import write_whole
from ..sinks.outputs import OutputRequest, Outputs, open_outputs
from ..sinks.sightings import SightingsSink
from ..sources import SourceSpec
from ..web.descriptors import fitting, raise_descriptor_limit
from .console import muted, plural, stderr, stdout, warn
from .errors import BAD_INPUT, FAILED, INTERRUPTED
from .progress import show_progress
from .signals import stopping_on_signals
from .summary import GROUPED, AnnounceSink, PersonSummary, SummarySink, people_table
from .tables import limit_lines, live_table, report_tables

if TYPE_CHECKING:
    from ..metrics.prometheus import MetricsServer

FILES_SHOWN = 8
log = logging.getLogger(__name__)


def run_sources(
    sources: Sequence[str],
    request: OutputRequest,
    *,
    gallery: str | Path | None = None,
    metrics: str | None = None,
    verbose: bool = False,
    config: Path | None = None,
    flags: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Run the pipeline over the sources; returns the exit status.

    Raises:
        UsageError: a source, output, setting or gallery cannot be used.
        StageFailed: the run broke.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    settings.storage.apply()
    watch = request.watch
    if not sources and watch is None:
        sources = [name for name, camera in settings.cameras.items() if camera.enabled]
    if not sources and watch is None:
        raise UsageError(
            "no SOURCE is given and the settings have no camera; name a video, a camera or a URL "
            "(see 'facestream run --help')"
        )
    found = list_sources(sources, settings) if sources else SourceList(())
    database = settings.storage.database
    if database is not None and gallery is not None:
        raise UsageError(
            "--gallery and a database of sightings (--db, storage.database) are both given; the "
            "database holds the people too: leave --gallery out, or import its people with "
            "'facestream gallery import --db'"
        )
    live = [spec.name for spec in found.specs if spec.live]
    with ExitStack() as stack:
        settings = _with_room_for_clients(settings, request, found.specs, metrics=metrics)
        outputs = open_outputs(request, settings, found.specs)
        stack.enter_context(outputs.locks)
        watched = None if watch is None else WatchedFolder(watch, outputs.state)
        if watched is not None and outputs.state is None:
            log.warning(
                "what was read of %s is forgotten with this run; --out or --events remembers it",
                watch,
            )
        below = None if outputs.events is None else outputs.events.parent
        summary = SummarySink(live=live, pictures_below=below)
        sinks: list[Sink] = [summary, *outputs.sinks]
        if database is not None:
            sinks.append(SightingsSink(database, live=live, storage=settings.storage))
        used = chosen_gallery(database or gallery)
        if live and stderr().is_terminal:
            sinks.append(AnnounceSink(stderr(), live))
        with ExitStack() as unused:  # the pipeline closes them, where there is one
            for sink in sinks:
                unused.callback(sink.close)
            pipeline = stack.enter_context(
                Pipeline(
                    found,
                    gallery=used,
                    settings=settings,
                    sinks=sinks,
                    frames=needs_of(sinks),
                    watched=watched,
                )
            )
            unused.pop_all()
        pipeline.running.line()  # what cannot serve says so now, not at the first face
        if metrics is not None:
            stack.enter_context(_serve_metrics(pipeline, metrics))
        if outputs.window is not None:
            outputs.window.on_quit = pipeline.stop
        stack.enter_context(stopping_on_signals(pipeline.stop))
        if len(sources) == 1 and watched is None:
            # What is wrong with the only source is printed once, at the end.
            stack.enter_context(muted("facestream.pipeline.ingest.file_reader"))
        with show_progress(pipeline.progress):
            for number, _ in enumerate(pipeline):
                if number == 0:  # before the first result, a mistake is all there is to say
                    log.info("%s", pipeline.running.line())
        report = pipeline.report()
        # Still with the signals caught: a Ctrl-C just now does not cost the summary.
        if nothing_read(report):
            raise SourceError(nothing_read(report))
        announce_gallery(database or gallery, used)
        rule = open_grouping(
            pipeline.analyzer.encoder.card, settings.recognition, pipeline.calibrated
        )
        unknown = summary.grouped(rule)
        console = stderr() if request.events == "-" else stdout()
        unwritten: OutputError | None = None
        if outputs.report is not None:
            try:
                write_report(outputs.report, report, settings, summary, unknown)
            except OutputError as error:  # the table is shown all the same
                unwritten, outputs.report = error, None
        if report.frames:
            known = [person for person in summary.people() if person.person_id is not None]
            console.print(people_table([*known, *unknown], faces=report.faces))
        if summary.ungrouped:
            more = plural(summary.ungrouped, "sighting")
            log.warning("%s of unknown people came after the first %s: not grouped", more, GROUPED)
        _summarise(console, report, outputs, verbose=verbose)
        if unwritten is not None and not live:
            raise unwritten
        left_out = int(pipeline.metrics.value(OUTPUT_DROPPED))
        if left_out:
            log.warning(
                "the annotated video left out %s: it is slower than the frames come",
                plural(left_out, "frame"),
            )
        for output in report.outputs:
            warn(_losses(output))
        if unwritten is not None:
            warn(str(unwritten))
            return FAILED
        return exit_status(report)


def _with_room_for_clients(
    settings: Settings, request: OutputRequest, specs: Sequence[SourceSpec], *, metrics: str | None
) -> Settings:
    """The settings with as many connections to the servers as there are descriptors for."""
    server = fitting(
        settings.server,
        raise_descriptor_limit(),
        sources=len([spec for spec in specs if spec.live]) + 1,  # files are read one by one
        outputs=4 + len(request.others),
        servers=(metrics is not None) + (request.restream is not None),
    )
    return settings.model_copy(update={"server": server})


def _serve_metrics(pipeline: Pipeline, where: str) -> MetricsServer:
    from ..metrics.prometheus import MetricsServer

    pipeline.metrics.set(
        BUILD_INFO, 1, version=facestream_version(), model=pipeline.analyzer.model_id
    )
    address = Address.parse(where, flag="--metrics")
    return MetricsServer(pipeline.metrics, address, pipeline.settings.server)


def chosen_gallery(given: str | Location | None) -> Location | None:
    """The gallery that is given, else the default one where it exists."""
    if given is not None:
        return locate(given)
    try:
        default = default_gallery_path()
    except ConfigError:  # a user without a home has none
        return None
    return default if default.is_file() else None


def announce_gallery(given: str | Location | None, used: Location | None) -> None:
    """Say which gallery served where none was given; called last, after what can go wrong."""
    if used is None:
        try:
            place = f"gallery at {default_gallery_path()}"
        except ConfigError as error:
            log.info("nobody is known: %s", error)
            return
        log.info(
            "there is no %s, so everybody is unknown: 'facestream gallery add NAME PHOTO' makes "
            "it, --gallery selects another",
            place,
        )
    elif given is None:
        log.info("used the gallery %s", used)


def what_runs(analyzer: FaceAnalyzer, gallery: Gallery | None = None) -> str:
    """What runs the networks and the search, and why; one line, for the end.

    Raises BackendUnavailable if the index cannot serve here.
    """
    index = None if gallery is None else gallery.index_info
    serving = analyzer.settings.runtime.serving()
    return RuntimeInfo(analyzer.engines, index=index, serving=serving).line()


def write_report(
    path: Path,
    report: Report,
    settings: Settings,
    summary: SummarySink,
    unknown: Sequence[PersonSummary],
) -> None:
    """Write counts, times, people, groups of unknown people and settings as JSON.

    Raises OutputError if the file cannot be written.
    """
    content = {
        "report": report.to_dict(),
        "people": [person.to_dict() for person in summary.people()],
        "groups": [row.group_dict() for row in unknown],
        "settings": settings.model_dump(mode="json"),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    # Bytes of a path that are not UTF-8 become escapes of JSON.
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def nothing_read(report: Report) -> str:
    """What was wrong when no source gave a single frame; empty when one did."""
    if report.frames or report.dropped or report.interrupted or not report.problems:
        return ""
    first = report.problems[0]
    return first if len(report.sources) == 1 else f"no source can be read; the first: {first}"


def exit_status(report: Report) -> int:
    """What the run's end means to a shell."""
    if any(output.degraded for output in report.outputs):
        return FAILED
    if report.interrupted:
        return INTERRUPTED
    return BAD_INPUT if report.problems else 0


def _losses(output: OutputReport) -> str:
    """What an output that failed has lost, in a line."""
    lost = [plural(count, item) for item, count in sorted(output.lost.items())]
    now = "fails" if output.degraded else "failed for a while"
    return f"the output {output.name} {now} (lost: {', '.join(lost) or 'nothing'}): {output.reason}"


def _summarise(console: Console, report: Report, outputs: Outputs, *, verbose: bool) -> None:
    if (live := live_table(report)) is not None:
        console.print(live)
    for line in limit_lines(report):
        console.print(line, soft_wrap=True, markup=False)
    if files := [str(path) for path in outputs.files]:
        more = len(files) - FILES_SHOWN
        written = ", ".join(files[:FILES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        console.print(f"Wrote {written}", soft_wrap=True, markup=False)
    counts = zip(outputs.older(), ("picture", "annotated video"), strict=True)
    if outputs.pictures is not None and (old := [plural(n, noun) for n, noun in counts if n]):
        folder = outputs.pictures.folder.parent
        line = f"{folder} also has {' and '.join(old)} of earlier runs"
        console.print(line, soft_wrap=True, markup=False)
    console.print(_headline(report), soft_wrap=True, markup=False)
    if verbose:
        console.print(*report_tables(report), sep="\n")
    for problem in report.problems:
        warn(problem)


def _headline(report: Report) -> str:
    """The run in one line."""
    parts = [
        plural(report.frames, "frame"),
        *([f"{report.skipped:,} passed over"] if report.skipped else []),
        plural(report.faces, "face"),
        plural(report.sightings, "sighting"),
        f"{report.seconds:.1f} s, {report.fps:.1f} fps",
    ]
    if report.dropped:
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(report.dropped.items()))
        parts.append(f"{sum(report.dropped.values())} dropped ({causes})")
    line = " · ".join(parts)
    return f"Interrupted after {line}" if report.interrupted else line
