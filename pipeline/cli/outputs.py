"""What a run writes and serves: from the flags to the sinks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.addresses import Address
from ..core.config import Settings
from ..core.errors import OutputError
from ..sinks.background import BackgroundSink
from ..sinks.base import Needs, Sink
from ..sinks.files import check_writable, make_folder
from ..sinks.jsonl import JsonlSink
from ..sinks.only import OnlySink
from ..sinks.pictures import PicturesSink
from ..sinks.video.files import VideoSink
from ..sinks.video.segments import SegmentsSink
from ..sinks.window import ShowSink
from ..sources import SourceSpec
from .announce import AnnounceSink
from .console import stderr
from .summary import RollSink


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    sources: Sequence[str]
    gallery: Path | None = None
    out: Path | None = None
    annotate: Path | None = None
    events: str | None = None
    report: Path | None = None
    metrics: str | None = None
    restream: str | None = None
    show: bool = False
    video: bool = True
    verbose: bool = False


@dataclass(slots=True)
class Outputs:
    """Where results go; each part may be missing."""

    roll: RollSink
    sinks: list[Sink] = field(default_factory=list)
    video: VideoSink | None = None
    segments: SegmentsSink | None = None
    show: ShowSink | None = None
    events: Path | None = None
    report: Path | None = None

    @property
    def needs(self) -> Needs:
        """Which frames the sinks must see."""
        return "all" if any(sink.needs == "all" for sink in self.sinks) else "searched"

    @property
    def files(self) -> list[Path]:
        """What was written, apart from pictures."""
        found = [] if self.events is None else [self.events]
        if self.video is not None:
            found += self.video.paths.values()
        if self.segments is not None:
            found += self.segments.paths
        return found if self.report is None else [*found, self.report]


def open_outputs(request: Request, settings: Settings, specs: Sequence[SourceSpec]) -> Outputs:
    """Make the sinks; nothing of an earlier run is changed yet.

    Args:
        request: what was asked for.
        settings: of the run.
        specs: the sources.

    Raises:
        UsageError: one of them cannot be written or served, or is also a source.
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
    _check_no_source(specs, annotate, events, report)
    live = [spec.name for spec in specs if spec.live]
    outputs = Outputs(RollSink(live=live), report=report)
    outputs.sinks.append(outputs.roll)
    if events is not None:
        sink = JsonlSink(events, settings=settings.events, earlier="append" if live else "replace")
        outputs.sinks.append(sink)
        outputs.events = sink.path
    if annotate is not None:
        _annotate(outputs, annotate, settings, specs)
    if folder is not None:
        base = None if outputs.events is None else outputs.events.parent
        outputs.roll.pictures_below = base
        outputs.sinks = [
            PicturesSink(
                folder / "pictures",
                then=outputs.sinks,
                relative_to=base,
                earlier="keep" if live else "replace",
            )
        ]
    _watching(outputs, request, settings)
    if live and stderr().is_terminal:
        outputs.sinks.append(AnnounceSink(stderr(), live))
    return outputs


def _check_no_source(specs: Sequence[SourceSpec], *paths: Path | str | None) -> None:
    # A folder of pictures is one source of many files.
    names = [Path(spec.location).resolve() for spec in specs if not spec.live]
    for path in paths:
        if path is not None and Path(path).resolve() in names:
            raise OutputError(f"{path} is a source of this run; write the output elsewhere")


def _annotate(
    outputs: Outputs, path: Path, settings: Settings, specs: Sequence[SourceSpec]
) -> None:
    """A video of each file; of live sources segments, which hold nobody back."""
    live = [spec.name for spec in specs if spec.live]
    files = [spec.name for spec in specs if not spec.live]
    if files:
        outputs.video = VideoSink(path, naming="single" if len(specs) == 1 else "per_source")
        outputs.sinks.append(OnlySink(outputs.video, files) if live else outputs.video)
    if live:
        wanted = settings.annotate
        outputs.segments = SegmentsSink(
            path, minutes=wanted.segment_minutes, keep=wanted.keep_segments
        )
        background = BackgroundSink(
            outputs.segments, name="annotate", idle=outputs.segments.end_lost
        )
        outputs.sinks.append(OnlySink(background, live) if files else background)


def _watching(outputs: Outputs, request: Request, settings: Settings) -> None:
    """A window and the pictures for browsers."""
    if request.show:
        outputs.show = ShowSink(os.environ)
        outputs.sinks.append(outputs.show)
    if request.restream is not None:
        from ..sinks.mjpeg.sink import RestreamSink

        token = settings.restream.token
        outputs.sinks.append(
            RestreamSink(
                Address.parse(request.restream, flag="--restream"),
                token=None if token is None else token.get_secret_value(),
            )
        )
