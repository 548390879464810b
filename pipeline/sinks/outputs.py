"""What a run writes and serves: from requests to sinks. The one place that names them all."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from facestream.engines.private_files import tighten

from ..core.addresses import Address
from ..core.config import Settings
from ..core.errors import OutputError
from ..sources import SourceSpec
from .background import BackgroundSink
from .base import Sink, SourcesSink
from .delivery_counts import DeliveryCounts
from .files import check_writable, make_folder
from .jsonl import JsonlSink
from .locks import OutputLock, Share
from .mjpeg.sink import RestreamSink
from .notifications import notification_sinks
from .pictures import PicturesSink
from .registry import open_sink
from .video.files import VideoSink
from .video.segments import SegmentsSink
from .window import WindowSink


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """What a run is to write and serve; see the flags of ``facestream run``.

    Attributes:
        watch: a folder whose files are sources too: what earlier runs wrote is kept.
        video: False leaves out the annotated video in ``out``.
        others: sinks of other packages, see `open_sink`.
    """

    out: Path | None = None
    annotate: Path | None = None
    events: str | None = None
    report: Path | None = None
    restream: str | None = None
    show: bool = False
    watch: Path | None = None
    video: bool = True
    others: Sequence[str] = ()


@dataclass(slots=True)
class Outputs:
    """The sinks of a run, and where they write.

    Attributes:
        sinks: all of them.
        window: the one that shows windows, or None.
        events: file of the events, or None; pictures are named relative to its folder.
        report: file of the report, or None. It is written after the run, by the caller.
        videos: the sinks that write annotated video.
        pictures: the sink that writes pictures, or None.
        locks: keep other runs from writing the same files; to be closed after the report.
    """

    sinks: list[Sink]
    window: WindowSink | None
    events: Path | None
    report: Path | None
    videos: list[VideoSink | SegmentsSink] = field(default_factory=list)
    pictures: PicturesSink | None = None
    locks: ExitStack = field(default_factory=ExitStack)

    @property
    def state(self) -> Path | None:
        """Where a watched folder remembers what was read: beside the first of the outputs."""
        beside = self.events or self.report
        return None if beside is None else beside.with_name(f"{beside.stem}.watched.jsonl")

    @property
    def files(self) -> list[Path]:
        """The files that were written, apart from pictures."""
        found = [] if self.events is None else [self.events]
        found += [path for video in self.videos for path in video.paths]
        return found if self.report is None else [*found, self.report]

    def older(self) -> tuple[int, int]:
        """How many pictures and annotated videos of earlier runs lie beside those of this run."""
        if self.pictures is None or not self.pictures.replaces:
            return 0, 0
        videos = set(self.pictures.folder.parent.glob("annotated*.mp4")) - set(self.files)
        return self.pictures.older, len(videos)


def open_outputs(
    request: OutputRequest, settings: Settings, specs: Sequence[SourceSpec]
) -> Outputs:
    """Open the sinks; nothing of an earlier run is changed yet.

    Args:
        request: what is wanted.
        settings: of the run.
        specs: the sources.

    Raises:
        UsageError: one of them cannot be written or served, is also a source, or is being written
            by another run.
    """
    folder = None if request.out is None else make_folder(request.out)
    events, annotate, report = request.events, request.annotate, request.report
    if folder is not None:
        events = events or str(folder / "events.jsonl")
        report = report or folder / "report.json"
        if request.video:
            annotate = annotate or folder / "annotated.mp4"
    # A folder of pictures is one source of many files.
    sources = {Path(spec.location).resolve() for spec in specs if not spec.live}
    lines = None if events in (None, "-") else Path(events)
    pictures = None if folder is None else folder / "pictures"
    _check_files(sources, annotate, lines, report)
    watched = request.watch is not None
    if request.watch is not None:
        _check_outside(request.watch, folder, annotate)
    live = watched or any(spec.live for spec in specs)
    outputs = Outputs([], window=None, events=None, report=report)
    with ExitStack() as opened:  # where a later one cannot be opened
        opened.enter_context(outputs.locks)
        # Live runs add to what is there, with names of their own: several may.
        adds: Share = "shared" if live else "exclusive"
        segments = not watched and all(spec.live for spec in specs)
        whole: Share = "shared" if segments else "exclusive"
        for path, share in ((lines, adds), (pictures, adds), (annotate, whole)):
            if path is not None:
                outputs.locks.enter_context(OutputLock(path, share=share))
        if report is not None:
            outputs.locks.enter_context(OutputLock(report))
            check_writable(report)

        def add(sink: Sink) -> None:
            outputs.sinks.append(opened.enter_context(sink))

        if events is not None:
            jsonl = JsonlSink(
                events, settings=settings.events, earlier="append" if live else "replace"
            )
            outputs.events = jsonl.path
            add(jsonl)
        if pictures is not None:
            base = None if outputs.events is None else outputs.events.parent
            earlier: Literal["keep", "replace"] = "keep" if live else "replace"
            outputs.pictures = PicturesSink(pictures, relative_to=base, earlier=earlier)
            tighten(pictures)  # an older version's: the names of its files are names of people
            add(outputs.pictures)
        if annotate is not None:
            for sink in _annotate(
                outputs, annotate, settings, specs, watched=watched, avoid=sources
            ):
                add(sink)
        for sink in notification_sinks(settings, DeliveryCounts()):
            add(sink)
        for spec in request.others:
            add(open_sink(spec))
        if request.show:
            outputs.window = WindowSink(os.environ)
            add(outputs.window)
        if request.restream is not None:
            token = settings.restream.token
            address = Address.parse(request.restream, flag="--restream")
            secret = None if token is None else token.get_secret_value()
            add(RestreamSink(address, token=secret, settings=settings.server))
        opened.pop_all()
    return outputs


def _check_files(sources: Collection[Path], *paths: Path | None) -> None:
    written: set[Path] = set()
    for path in filter(None, paths):
        place = path.resolve()
        if place in sources:
            raise OutputError(f"{path} is a source of this run; write the output elsewhere")
        if place in written and (path.is_file() or not path.exists()):  # /dev/null may be both
            raise OutputError(f"two outputs of this run are {path}; give each a file of its own")
        written.add(place)


def _check_outside(watched: Path, *paths: Path | None) -> None:
    """Written videos and pictures must not be taken for new ones."""
    for path in filter(None, paths):
        if path.resolve().is_relative_to(watched.resolve()):
            raise OutputError(f"{path} lies in the watched folder {watched}; write elsewhere")


def _annotate(
    outputs: Outputs,
    path: Path,
    settings: Settings,
    specs: Sequence[SourceSpec],
    *,
    watched: bool,
    avoid: Collection[Path],
) -> list[Sink]:
    """A video of each file; of live sources segments, which hold nothing else up."""
    live = [spec.name for spec in specs if spec.live]
    files = [spec.name for spec in specs if not spec.live]
    sinks: list[Sink] = []
    if files or watched:
        single = len(specs) == 1 and not watched
        video = VideoSink(
            path,
            naming="single" if single else "per_source",
            earlier="keep" if watched else "replace",
            avoid=avoid,
        )
        outputs.videos.append(video)
        sinks.append(SourcesSink(video, live, taken="others") if live else video)
    if live:
        wanted = settings.annotate
        segments = SegmentsSink(path, minutes=wanted.segment_minutes, keep=wanted.keep_segments)
        outputs.videos.append(segments)
        background = BackgroundSink(segments, name="annotate")
        sinks.append(SourcesSink(background, live) if files or watched else background)
    return sinks
