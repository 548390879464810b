"""What the service works with: people, sightings, networks, cameras, events, jobs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from typing import Final

from facestream.engines.closing import Closing

from ..access.audit_log import LookupLog
from ..access.keys import access_is_set_up
from ..analysis import FaceAnalyzer
from ..calibration import CalibrationResult
from ..core.addresses import Address
from ..core.config import Settings, default_gallery_path
from ..core.errors import UsageError
from ..core.picture_limits import picture_limits, set_picture_limits
from ..detection.portraits import portraits
from ..gallery import Gallery
from ..gallery.gallery import searching_of
from ..identity.grouping import open_grouping
from ..sightings import Sightings
from ..sightings.by_photo import PhotoSearch
from ..sightings.forget import ForgetPlan, Forgetting, Forgotten
from ..sightings.receipts import Receipt
from ..sinks.notifications import Notifications, forget_messages
from .cameras import Cameras, CameraSwitches
from .configuration import Configuration
from .decisions import Reidentification, UnknownUpdates
from .events import EventBus
from .jobs import Jobs
from .metrics import ServiceMetrics
from .rates import RateLimit, StreamPlaces
from .work import PictureWork

READY_SECONDS: Final = 5.0
"""How long the answer of `Service.ready` holds: the check costs as much as a recognition."""
REFRESH_SECONDS: Final = 1.0
FORM_PLACES: Final = 8
"""Forms that may be read at a time before it is known who sends them."""


class Service(Closing):
    """Everything behind the routes; opened once, closed at the end.

    Args:
        settings: with the cameras; ``storage.database`` says where people and sightings are, else
            the user's gallery.
        address: where it listens.

    Raises:
        GalleryError: the database cannot be used.
        EngineError: the networks cannot run here.
        UsageError: others can reach the address, and there is neither a key nor a user.
    """

    def __init__(self, settings: Settings, address: Address) -> None:
        self.settings = settings = _with_upload_limits(settings)
        self.address = address
        server = settings.server
        self._resources = ExitStack()
        self._ready: tuple[float, dict[str, str]] = (-READY_SECONDS, {})
        self._closed = False
        self._checking, self._refreshed = threading.Lock(), 0.0
        with ExitStack() as on_error:
            on_error.callback(self.close)
            path = settings.storage.database or default_gallery_path()
            enter = self._resources.enter_context
            # The analyzer's limits are those of the process: they end with the service.
            self._resources.callback(set_picture_limits, picture_limits())
            self.analyzer = enter(FaceAnalyzer(settings))
            searching = searching_of(settings.runtime)
            self.gallery = enter(Gallery(path, reader=self.analyzer, searching=searching))
            self.sightings = enter(Sightings(path, media=settings.storage.media))
            self._need_access()
            self.configuration = Configuration(settings, self.sightings, self._use_settings)
            self.settings = self.analyzer.settings = settings = self.configuration.settings
            server = settings.server
            self.analyzer.search_in(self.gallery)
            self.analyzer.load()
            self.photo_search = PhotoSearch(self.sightings, self.analyzer)
            self.lookups = enter(LookupLog(self.sightings))
            self.failures = RateLimit(server.failures_per_minute)
            self.identifications = RateLimit(server.identifications_per_minute)
            self.metrics = ServiceMetrics()
            self.stream_places = StreamPlaces(server.max_listeners)
            self.form_places = StreamPlaces(FORM_PLACES)
            self.events = EventBus(server.event_history)
            self.jobs = enter(Jobs())
            self.work = enter(PictureWork(server.workers, server.max_waiting))
            switches = CameraSwitches()
            self.notifications = enter(Notifications(settings, cameras=switches))
            self.notifications.counts.expose_in(self.metrics.registry)
            self.events.subscribe(self.notifications.event)
            self.reidentification = Reidentification(self.jobs, self.sightings, settings)
            self.unknown_updates = enter(UnknownUpdates(self.sightings, settings))
            self.forgetters: list[Callable[[Forgotten], Mapping[str, int]]] = [
                lambda gone: {"events": self.events.forget(gone.sightings, gone.name)}
            ]
            self.calibration: tuple[str, CalibrationResult] | None = None
            self.cameras = enter(
                Cameras(
                    settings,
                    path,
                    self.gallery,
                    self.analyzer,
                    self.events,
                    self.configuration.added,
                )
            )
            switches.cameras = self.cameras
            on_error.pop_all()

    def close(self) -> None:
        """Stop the cameras and all work, and close the database."""
        self._resources.close()

    def open_to_all(self) -> bool:
        """True while nobody needs a key: only this machine can connect, and there is none."""
        if not self._closed:
            # For good: that the last user is removed must not open the service again.
            self._closed = not self.address.loopback or access_is_set_up(self.sightings)
        return not self._closed

    async def is_open_to_all(self) -> bool:
        """`open_to_all` for the event loop, which waits for no database."""
        return False if self._closed else await asyncio.to_thread(self.open_to_all)

    def _need_access(self) -> None:
        if not self.address.loopback and not access_is_set_up(self.sightings):
            raise UsageError(
                f"--listen {self.address}: other machines can connect, so a key or a user is "
                "needed: 'facestream serve key add NAME --role admin --db "
                f"{self.sightings.location}' makes one"
            )

    def refresh(self) -> None:
        """Read what other processes changed in the gallery, about once a second."""
        now = time.monotonic()
        if now - self._refreshed > REFRESH_SECONDS:
            self._refreshed = now
            self.gallery.refresh()

    def use_calibration(self) -> None:
        """Decide by the calibration of now, also on the cameras, which connect again."""
        self.gallery.refresh()
        self._use_settings(self.settings, self.configuration.added)

    def _use_settings(self, settings: Settings, added: Collection[str]) -> None:
        self.settings = self.analyzer.settings = settings
        self.analyzer.search_in(self.gallery)  # by the thresholds of now
        self.failures.allow(settings.server.failures_per_minute)
        self.identifications.allow(settings.server.identifications_per_minute)
        self.cameras.replace(settings, added)

    def forgetting(self) -> Forgetting:
        """What erases people and sightings, as the command does."""
        card = self.analyzer.encoder.card
        rule = open_grouping(card, self.settings.recognition, self.gallery.calibrated())
        return Forgetting(self.sightings, card.id, rule)

    def forget(self, plan: ForgetPlan, *, by: str, named: bool = False) -> Receipt:
        """Erase what was planned, also in the memory of this process; raises as `carry_out`."""

        def outputs(gone: Forgotten) -> Mapping[str, Mapping[str, int]]:
            done: Counter[str] = Counter()
            for forgetter in self.forgetters:
                done.update(forgetter(gone))
            return {"memory of the service": dict(done), **forget_messages(self.settings, gone)}

        receipt = self.forgetting().carry_out(plan, named=named, outputs=outputs, by=by)
        self.gallery.refresh()
        return receipt

    def ready(self) -> dict[str, str]:
        """What was checked: a real inference, a real search, and the database.

        Raises:
            FacestreamError, EngineError: it does not work.
        """
        with self._checking:
            at, checks = self._ready
            if time.monotonic() - at < READY_SECONDS:
                return checks
            faces = self.analyzer.analyze(portraits()[0].image)
            if not len(faces):
                raise UsageError("the detector finds no face in a portrait")
            checks = {
                "inference": f"{len(faces)} face found in a portrait",
                "search": f"{self.gallery.templates()} photos",
                "database": f"{self.sightings.count()} sightings",
            }
            self._ready = (time.monotonic(), checks)
            return checks


def _with_upload_limits(settings: Settings) -> Settings:
    """Pictures come from others: what an upload may be holds for the whole process."""
    photos, server = settings.photos, settings.server
    limits = {
        "max_megabytes": min(photos.max_megabytes, server.max_upload_megabytes),
        "max_megapixels": min(photos.max_megapixels, server.max_upload_megapixels),
    }
    return settings.model_copy(update={"photos": photos.model_copy(update=limits)})
