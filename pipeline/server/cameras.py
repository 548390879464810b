"""The cameras of the settings, run in this process; a changed set restarts the run.

The networks stay loaded, so a restart interrupts the other cameras for as long as they need to
connect again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from facestream.engines.closing import Closing
from facestream.engines.errors import EngineError
from prometheus_client import CollectorRegistry

from ..analysis import FaceAnalyzer
from ..core.config import CameraSettings, Settings
from ..core.errors import FacestreamError
from ..core.events import Event, SourceStateEvent
from ..core.location import Location
from ..core.types import FrameResult
from ..gallery import Gallery
from ..pipeline import Pipeline
from ..sinks.base import Sink
from ..sinks.mjpeg.views import LiveView
from ..sinks.sightings import SightingsSink
from .events import EventBus
from .problems import RequestRefused

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """A camera now.

    Attributes:
        source: its address without secrets.
        wanted: it is to run.
        state: the newest event of its state; None before the first.
        changeable: it was added over HTTP.
        problem: why the run of the cameras cannot start; None: it can.
    """

    name: str
    source: str
    wanted: bool
    state: SourceStateEvent | None
    changeable: bool
    problem: str | None


class _LiveSink(Sink):
    """Passes events on to the bus, and the newest frames to the views."""

    output = "serve"

    def __init__(self, cameras: Cameras, events: EventBus) -> None:
        self._cameras = cameras
        self._events = events

    def write(self, result: FrameResult) -> None:
        self._cameras.offer(result)

    def event(self, event: Event) -> None:
        if isinstance(event, SourceStateEvent):
            self._cameras.note_state(event)
        self._events.publish(event)


class CameraSwitches:
    """What MQTT's commands may do; nothing before ``cameras`` is set."""

    def __init__(self) -> None:
        self.cameras: Cameras | None = None

    def camera_names(self) -> list[str]:
        """Every camera of the settings."""
        return [] if self.cameras is None else [camera.name for camera in self.cameras.all()]

    def is_on(self, name: str) -> bool:
        """True for a camera that is to run."""
        return self.cameras is not None and self.cameras.get(name).wanted

    def switch(self, name: str, *, on: bool) -> None:
        """Start or stop it until the service ends."""
        if self.cameras is not None:
            self.cameras.set_running(name, wanted=on)


class Cameras(Closing):
    """Runs the enabled cameras of the settings, and others when they are started.

    Args:
        settings: with the cameras.
        database: where sightings are stored.
        gallery: who is known.
        analyzer: the networks, shared with the rest of the service.
        events: get the events.
        changeable: the cameras that were added over HTTP.
    """

    def __init__(
        self,
        settings: Settings,
        database: Location,
        gallery: Gallery,
        analyzer: FaceAnalyzer,
        events: EventBus,
        changeable: Collection[str] = (),
    ) -> None:
        self._settings = settings
        self._database = database
        self._gallery = gallery
        self._analyzer = analyzer
        self._events = events
        self._changeable = frozenset(changeable)
        self._wanted = {name for name, camera in settings.cameras.items() if camera.enabled}
        self._views = {name: LiveView(name, name) for name in settings.cameras}
        self._states: dict[str, SourceStateEvent] = {}
        self._problem: str | None = None
        self._pipeline: Pipeline | None = None
        self._changed = threading.Condition()
        self._version = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to run them."""
        self._thread = threading.Thread(target=self._run, name="cameras")
        self._thread.start()

    def close(self) -> None:
        """Stop all cameras; what was read is processed."""
        with self._changed:
            self._closing = True
            self._stop()
        for view in self._views.values():
            view.end()
        if self._thread is not None:
            self._thread.join()

    def all(self) -> list[CameraStatus]:
        """Every camera of the settings."""
        cameras = self._settings.cameras
        return [self._status(name, camera) for name, camera in cameras.items()]

    def get(self, name: str) -> CameraStatus:
        """One camera.

        Raises:
            RequestRefused: 404.
        """
        camera = self._settings.cameras.get(name)
        if camera is None:
            raise RequestRefused(404, "there is no such camera")
        return self._status(name, camera)

    def set_running(self, name: str, *, wanted: bool) -> CameraStatus:
        """Start or stop a camera until the service ends; raises as `get`."""
        self.get(name)
        with self._changed:
            if wanted is not (name in self._wanted):
                self._wanted ^= {name}
                if not wanted:
                    self._states.pop(name, None)
                self._stop()
        return self.get(name)

    def settings_of(self, name: str) -> CameraSettings:
        """The settings of a camera; raises as `get`."""
        self.get(name)
        return self._settings.cameras[name]

    def replace(self, settings: Settings, changeable: Collection[str]) -> None:
        """Run the cameras of these settings from now on; those that stay are started or stopped
        as before."""
        with self._changed:
            before = self._settings.cameras
            self._changeable = frozenset(changeable)
            self._settings = settings
            for name in before.keys() - settings.cameras.keys():
                self._wanted.discard(name)
                self._states.pop(name, None)
                self._views.pop(name).end()
            for name, camera in settings.cameras.items():
                if name not in before:
                    self._views[name] = LiveView(name, name)
                if name not in before or before[name].enabled is not camera.enabled:
                    self._wanted -= {name}
                    self._wanted |= {name} if camera.enabled else set()
            self._stop()

    def offer(self, result: FrameResult) -> None:
        """The newest frame of a camera; one that was removed meanwhile has no view."""
        view = self._views.get(result.frame.source)
        if view is not None:
            view.offer(result)

    def view(self, name: str) -> LiveView:
        """The live picture of a camera; raises as `get`."""
        if name not in self._views:
            raise RequestRefused(404, "there is no such camera")
        return self._views[name]

    def note_state(self, event: SourceStateEvent) -> None:
        """A camera's state changed."""
        self._states[event.source] = event

    def registry(self) -> CollectorRegistry | None:
        """The metrics of the run; None where nothing runs."""
        pipeline = self._pipeline
        return None if pipeline is None else pipeline.metrics.registry

    @property
    def states(self) -> Mapping[str, SourceStateEvent]:
        """The newest state of each camera that has one."""
        return dict(self._states)

    def _status(self, name: str, camera: CameraSettings) -> CameraStatus:
        source = str(camera.url) if camera.url is not None else f"device {camera.device}"
        wanted = name in self._wanted
        problem = self._problem if wanted else None
        return CameraStatus(
            name, source, wanted, self._states.get(name), name in self._changeable, problem
        )

    def _stop(self) -> None:
        self._version += 1
        self._changed.notify_all()
        if self._pipeline is not None:
            self._pipeline.stop()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._wanted)
                if self._closing:
                    return
                version, names = self._version, sorted(self._wanted)
            failed = self._run_once(names, version)
            with self._changed:
                # Recordings end by themselves, and are not read again.
                self._changed.wait_for(
                    lambda: self._version != version,  # noqa: B023
                    RETRY_SECONDS if failed else None,
                )

    def _run_once(self, names: list[str], version: int) -> bool:
        """Run these cameras until they end or the set changes; True when that failed."""
        sinks: list[Sink] = [_LiveSink(self, self._events)]
        try:
            sinks.append(SightingsSink(self._database, live=names, storage=self._settings.storage))
            pipeline = Pipeline(
                names,
                gallery=self._gallery,
                settings=self._settings,
                sinks=sinks,
                frames="searched",
                analyzer=self._analyzer,
            )
            with pipeline:
                with self._changed:
                    self._pipeline = pipeline
                    self._problem = None
                    if self._version != version:
                        return False
                pipeline.run()
            return False
        except (FacestreamError, EngineError) as error:
            self._problem = str(error)
            log.warning("the cameras do not run: %s; they are tried again", error)
            return True
        finally:
            self._pipeline = None
