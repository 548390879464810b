"""Sightings into the database."""

from __future__ import annotations

from collections.abc import Collection

from ..core.config import StorageSettings
from ..core.events import Event, Left, Moment, SightingEvent
from ..core.location import Location
from ..core.types import FrameResult
from ..metrics.store import Metrics
from ..sightings.retention import RetentionThread
from ..sightings.store import Sightings
from ..sightings.writer import SightingWriter
from .base import Sink

# How often the end of a sighting that goes on is noted, in seconds of the source.
NOTE_SECONDS = 1.0
_DEFAULT = StorageSettings()


class SightingsSink(Sink):
    """Stores each sighting while it happens: at ``appeared``, at each change, and at ``left``.

    Args:
        location: of the database.
        live: sources that cannot wait for a slow disk.
        storage: where the pictures are, and what is too old and is erased meanwhile.

    Raises:
        GalleryError: the database cannot be used.
    """

    def __init__(
        self, location: Location, *, live: Collection[str] = (), storage: StorageSettings = _DEFAULT
    ) -> None:
        self._live = frozenset(live)
        self._store = Sightings(location, create="if_missing", media=storage.media)
        try:
            self._writer = SightingWriter(self._store)
        except BaseException:
            self._store.close()
            raise
        self._retention = RetentionThread(self._store, storage.retention)
        self._retention.start()
        self._open: dict[int, str] = {}  # track to sighting
        self._noted: dict[str, float] = {}

    def count_in(self, metrics: Metrics) -> None:
        self._writer.count_in(metrics)
        self._retention.count_in(metrics)

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        if not result.tracks or frame.pts - self._noted.get(frame.source, -1e9) < NOTE_SECONDS:
            return
        self._noted[frame.source] = frame.pts
        at = Moment.at(frame.pts, frame.utc)
        for track in result.tracks:
            uid = self._open.get(track.track_id)
            if uid is not None:
                self._writer.seen(uid, frame.source, at)

    def event(self, event: Event) -> None:
        if not isinstance(event, SightingEvent):
            return
        if isinstance(event, Left):
            self._open.pop(event.track_id, None)
        else:
            self._open[event.track_id] = event.sighting
        self._writer.event(event, pace="drops" if event.source in self._live else "waits")

    def source_ended(self, source: str) -> None:
        self._noted.pop(source, None)

    def close(self) -> None:
        """Write what waits; raises OutputError where that is not possible."""
        try:
            self._retention.close()
            self._writer.close()
        finally:
            self._store.close()
