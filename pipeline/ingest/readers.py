"""The sources of a run and their readers: one for the files, one for each live source."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Literal

from ..core.config import CameraSettings, RuntimeSettings, Settings
from ..core.errors import ConfigError, SourceError
from ..core.events import SourceStateEvent
from ..core.redact import file_label, label, shown_source
from ..core.types import Frame, LazyFrame
from ..metrics.store import Metrics
from ..runtime.source_queue import SourceQueue
from ..runtime.supervisor import Supervisor
from ..sources import (
    DEFAULTS,
    Decoding,
    SourceOptions,
    SourceSpec,
    decide,
    distinct_sources,
    expand_sources,
    served_file,
)
from .decoders import SourceOpening
from .file_reader import Reader, SourceState
from .isolation import SourceIsolation
from .live_reader import LiveReader, live_options
from .watched_folder import WatchedFolder

FrameSelection = Literal["all", "searched"]
"""Which frames are delivered: every one, or only those that are searched for faces."""


@dataclass(frozen=True, slots=True)
class SourceList:
    """The sources of a run.

    Attributes:
        specs: the sources to read, each once and under a name of its own.
        missing: those that do not exist.
    """

    specs: tuple[SourceSpec, ...]
    missing: tuple[SourceState, ...] = ()


def list_sources(sources: Sequence[str | Path | SourceSpec], settings: Settings) -> SourceList:
    """The sources to read, and those that do not exist; URLs of video files are ``recorded``.

    Args:
        sources: files, folders, patterns, URLs, camera numbers, names of the settings' cameras.
        settings: with the cameras; their secrets are in the environment.

    Raises:
        ConfigError: a camera cannot be used.
        SourceError: none exists.
    """
    specs: list[SourceSpec] = []
    missing: dict[str, SourceState] = {}
    first: SourceError | None = None
    for source in sources:
        try:
            if isinstance(source, SourceSpec):
                found: list[SourceSpec | str] = [source]
            else:
                found = expand_cameras([str(source)], settings, os.environ)
            for one in found:
                expanded = expand_sources([one]) if isinstance(one, str) else [one]
                specs += [_recorded(spec, settings) for spec in expanded]
        except SourceError as error:
            first = first or error
            state = SourceState(shown_source(str(source)), done=True, problems=[str(error)])
            missing.setdefault(state.name, state)
    if not specs:
        raise first or SourceError("no sources were given; name a video, a folder or a camera")
    unique = distinct_sources(specs, reserved=settings.cameras)
    return SourceList(tuple(unique), tuple(missing.values()))


def _recorded(spec: SourceSpec, settings: Settings) -> SourceSpec:
    if spec.kind != "url" or spec.recorded:
        return spec
    live = settings.for_source(spec.name).live
    if not served_file(spec.location, live_options(DEFAULTS, live)):
        return spec
    name = file_label(spec.location) if spec.name == label(spec.location) else spec.name
    return replace(spec, recorded=True, name=name)


def expand_cameras(
    sources: Sequence[str], settings: Settings, environment: Mapping[str, str]
) -> list[SourceSpec | str]:
    """The sources with names of cameras replaced by their specs; others stay as they are.

    Args:
        sources: as the user gave them; none: all enabled cameras. A disabled camera is read when it
            is named.
        settings: with the cameras.
        environment: with their URLs' secrets, which the specs hold in ``location`` only.

    Raises:
        ConfigError: a camera's secret is missing, or its URL cannot be used.
        SourceError: a source is neither a camera nor a path, and nearly a camera's name.
    """
    cameras = settings.cameras
    if not sources:
        sources = [name for name, camera in cameras.items() if camera.enabled]
    found: list[SourceSpec | str] = []
    for source in dict.fromkeys(sources):
        if source in cameras:
            found.append(camera_source(source, cameras[source], environment))
            continue
        near = get_close_matches(source, cameras, n=1, cutoff=0.75)
        if near and not Path(source).exists():
            raise SourceError(
                f"there is no camera and no file {source!r}; did you mean the camera {near[0]!r}?"
            )
        found.append(source)
    return found


def camera_source(name: str, camera: CameraSettings, environment: Mapping[str, str]) -> SourceSpec:
    """What to open for a camera: its device, or its URL with the secrets in it.

    Raises:
        ConfigError: a secret is missing, or the URL cannot be used.
    """
    if camera.device is not None:
        device = camera.device
        path = f"/dev/video{device}" if isinstance(device, int) else device
        return SourceSpec("camera", path, name)
    key, url = ("url", camera.url) if camera.stream == "main" else ("sub_url", camera.sub_url)
    if url is None:
        raise ConfigError(f"camera {name!r}: {key} is not given")
    location = url.resolve(environment, place=f"camera {name!r}: {key}")
    try:
        specs = expand_sources([location])
    except SourceError:
        # `from None`: a file's path may hold a secret of the environment.
        raise ConfigError(f"camera {name!r}: there is no file {url}") from None
    if len(specs) != 1:
        raise ConfigError(f"camera {name!r}: {url} is {len(specs)} sources; a camera is one")
    return replace(specs[0], name=name)


def decoding_of(specs: Sequence[SourceSpec], runtime: RuntimeSettings) -> Decoding | None:
    """What decodes these sources (none: a watched folder's); None where none of them is a video.

    Raises:
        SourceError: the requested hardware does not decode here.
    """
    if specs and all(spec.kind == "images" for spec in specs):
        return None
    return decide(runtime.decode, strict="strict" if runtime.strict_device else "lenient")


class Readers:
    """Reads all sources of a run into the queue.

    Args:
        specs: what to read, in the order of the reports.
        queue: where frames go; sealed when the last reader has ended.
        settings: of the run; a camera's own settings are found by its name.
        options: how sources are read; what the settings and ``frames`` say is set here.
        on_state: gets the state changes of a live source, in its thread.
        isolation: knows the sources and counts their errors; without it they end the run.
        watched: see `Reader`.
        on_new: see `Reader`.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        queue: SourceQueue[Frame | LazyFrame],
        metrics: Metrics,
        *,
        settings: Settings,
        frames: FrameSelection,
        options: SourceOptions = DEFAULTS,
        on_state: Callable[[SourceStateEvent], None],
        isolation: SourceIsolation | None = None,
        watched: WatchedFolder | None = None,
        on_new: Callable[[SourceState], None] = lambda _: None,
    ) -> None:
        if len({spec.name for spec in specs}) < len(specs):
            raise ValueError("two sources have the same name; see distinct_sources")
        self._queue = queue
        self._lock = threading.Lock()
        self._readers: dict[str, Reader | LiveReader] = {}
        states: dict[str, SourceState] = {}
        opener = SourceOpening(settings.runtime, metrics)
        files = [spec for spec in specs if not spec.live]
        if files or watched is not None:
            reader = Reader(
                files,
                queue,
                metrics,
                buffer_frames=settings.runtime.inbox_frames,
                options=lambda name: _options(settings.for_source(name), frames, options),
                opener=opener,
                isolation=isolation,
                watched=watched,
                on_new=on_new,
            )
            self._readers["read"] = reader
            states.update((state.name, state) for state in reader.states)
        for spec in filter(lambda spec: spec.live, specs):
            own, camera = settings.for_source(spec.name), settings.cameras.get(spec.name)
            limited = replace(
                _options(own, frames, options),
                shrink_above=round(own.limits.megapixels * 1e6),
                refuse_above=round(own.limits.most_megapixels * 1e6),
            )
            live = LiveReader(
                spec,
                queue,
                metrics,
                options=limited,
                live=own.live,
                on_state=on_state,
                schedule=None if camera is None else camera.times,
                buffer_frames=settings.runtime.inbox_frames,
                opener=opener,
                start_within=opener.start_within(spec),
                isolation=isolation,
            )
            self._readers[f"read {len(self._readers)} {spec.name}"] = live
            states[spec.name] = live.state
        self.states = [states[spec.name] for spec in specs]
        if isolation is not None:
            isolation.watch(self.states)
        self._running = len(self._readers)

    def start(self, supervisor: Supervisor) -> None:
        """Start each reader in a thread of its own."""
        supervisor.on_stop(self.stop)
        for name, reader in self._readers.items():
            supervisor.spawn(name, partial(self._run, reader))

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        for reader in self._readers.values():
            reader.stop()

    def _run(self, reader: Reader | LiveReader) -> None:
        try:
            reader.run()
        finally:
            with self._lock:
                self._running -= 1
                last = not self._running
            if last:
                self._queue.seal()


def _options(settings: Settings, frames: FrameSelection, options: SourceOptions) -> SourceOptions:
    return replace(
        live_options(options, settings.live),
        max_frames=settings.runtime.max_frames,
        track=settings.runtime.track,
        follow=settings.runtime.follow,
        every=settings.tracking.detect_every if frames == "searched" else 1,
    )
