"""One reader for the files, one for each live source; the queue ends with the last of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from ..core.config import RuntimeSettings, Settings
from ..core.errors import SourceError
from ..core.events import SourceStateEvent
from ..core.types import Frame, LazyFrame
from ..metrics import Metrics
from ..runtime.source_queue import SourceQueue
from ..runtime.supervisor import Supervisor
from ..sources import (
    DEFAULTS,
    Decoding,
    SourceOptions,
    SourceSpec,
    decide,
    expand_sources,
)
from . import LiveReader, is_live
from .cameras import expand_cameras
from .file_reader import Reader, SourceState
from .isolation import SourceIsolation

Wanted = Literal["all", "searched"]
"""Which frames are delivered: every one, or only those that are searched for faces."""


def expanded(
    sources: Sequence[str | Path | SourceSpec], settings: Settings
) -> tuple[list[SourceSpec], list[SourceState]]:
    """What there is to read, and the sources that do not exist.

    Args:
        sources: files, folders, patterns, URLs, camera numbers, names of the settings' cameras.
        settings: with the cameras; their secrets are looked up in the environment.

    Raises:
        ConfigError: a camera cannot be used.
        SourceError: none exists.
    """
    specs: list[SourceSpec] = []
    missing: list[SourceState] = []
    first: SourceError | None = None
    for source in sources:
        if isinstance(source, SourceSpec):
            specs.append(source)
            continue
        try:
            for found in expand_cameras([str(source)], settings, os.environ):
                specs += [found] if isinstance(found, SourceSpec) else expand_sources([found])
        except SourceError as error:
            first = first or error
            missing.append(SourceState(str(source), done=True, problems=[str(error)]))
    if not specs:
        raise first or SourceError("no sources were given; name a video, a folder or a camera")
    return specs, missing


def decoding_of(specs: Sequence[SourceSpec], runtime: RuntimeSettings) -> Decoding | None:
    """What is to decode these sources; None where none of them is a video.

    Raises:
        SourceError: the hardware that was asked for does not decode here.
    """
    if all(spec.kind == "images" for spec in specs):
        return None
    return decide(runtime.decode, strict="strict" if runtime.strict_device else "lenient")


class _Runs(Protocol):
    def run(self) -> None: ...

    def stop(self) -> None: ...


class Readers:
    """Reads all sources of a run into the queue.

    Args:
        specs: what to read, in the order of the reports.
        queue: where frames go; sealed when the last reader has ended.
        metrics: counts the frames.
        settings: of the run; a camera's own settings are asked for by its name.
        wanted: which frames are delivered.
        options: how sources are read; what the settings and ``wanted`` say is set here.
        on_state: gets each change of a live source's state, in that source's thread.
        isolation: knows the sources and counts their errors; without it they end the run.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        queue: SourceQueue[Frame | LazyFrame],
        metrics: Metrics,
        *,
        settings: Settings,
        wanted: Wanted,
        options: SourceOptions = DEFAULTS,
        on_state: Callable[[SourceStateEvent], None],
        isolation: SourceIsolation | None = None,
    ) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._readers: dict[str, _Runs] = {}
        by_spec: dict[int, SourceState] = {}
        files = [spec for spec in specs if not is_live(spec)]
        if files:
            reader = Reader(
                files,
                queue,
                metrics,
                buffer_frames=settings.runtime.inbox_frames,
                options=_options(settings, wanted, options),
                isolation=isolation,
            )
            self._readers["read"] = reader
            by_spec.update(zip(map(id, files), reader.states, strict=True))
        for spec in specs:
            if not is_live(spec):
                continue
            own, camera = settings.for_source(spec.name), settings.cameras.get(spec.name)
            live = LiveReader(
                spec,
                queue,
                metrics,
                options=_options(own, wanted, options),
                live=own.live,
                on_state=on_state,
                schedule=None if camera is None else camera.times,
                buffer_frames=settings.runtime.inbox_frames,
                isolation=isolation,
            )
            self._readers[f"read {len(self._readers)} {spec.name}"] = live
            by_spec[id(spec)] = live.state
        self.states = [by_spec[id(spec)] for spec in specs]
        if isolation is not None:
            isolation.watch(self.states)
        self._running = len(self._readers)

    def start(self, supervisor: Supervisor) -> None:
        """Read, each reader in a thread of its own."""
        supervisor.on_stop(self.stop)
        for name, reader in self._readers.items():
            supervisor.spawn(name, partial(self._run, reader))

    def stop(self) -> None:
        """End soon; safe in a signal handler."""
        for reader in self._readers.values():
            reader.stop()

    def _run(self, reader: _Runs) -> None:
        try:
            reader.run()
        finally:
            with self._lock:
                self._running -= 1
                last = not self._running
            if last:
                self._queue.seal()


def _options(settings: Settings, wanted: Wanted, options: SourceOptions) -> SourceOptions:
    # The time-outs and the transport of live sources are added by their reader.
    return replace(
        options,
        max_frames=settings.runtime.max_frames,
        every=settings.tracking.detect_every if wanted == "searched" else 1,
    )
