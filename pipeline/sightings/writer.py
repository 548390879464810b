"""Events of sightings become rows and pictures, in a thread of its own and in batches."""

from __future__ import annotations

import json
import logging
import math
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from facestream.engines.closing import Closing

from ..core.errors import GalleryError, OutputError
from ..core.events import FusedTemplate, Left, Moment, TrackEvent
from ..core.types import Image
from ..metrics.families import SIGHTINGS_DROPPED, SIGHTINGS_STORED
from ..metrics.store import Metrics
from .media import StoredPicture
from .records import MediaKind
from .store import Sightings

log = logging.getLogger(__name__)

# A row is durable this many seconds after its event, plus the time of the disk itself.
FLUSH_SECONDS = 0.5
# Rows that wait, about 2 KB each, and sightings whose pictures wait, 0.3 MB each.
MAX_ROWS = 10_000
MAX_PICTURES = 64
RETRY_SECONDS = (1.0, 30.0)
"""Of a live run: the first pause after a failed transaction, and the longest."""

What = Literal["row", "picture"]
Pace = Literal["waits", "drops"]
"""What a source does while the disk is slow: a file waits; a camera cannot."""


@dataclass(slots=True, eq=False)
class _Pending:
    """What is to be written of a sighting."""

    source: str
    row: dict[str, Any]
    template: FusedTemplate | None = None
    pictures: dict[MediaKind, Image] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    closes: bool = False


class SightingWriter(Closing):
    """Stores the sightings of one run.

    Rows that wait are merged by sighting, so that a slow disk costs pictures before rows: a camera
    drops them from ``MAX_PICTURES`` on, and rows from ``MAX_ROWS`` on; both are counted and logged.
    A file waits instead. A failed transaction is tried again while cameras run.

    Args:
        store: the database; not closed here.

    Attributes:
        run_id: of this run's rows.
    """

    def __init__(self, store: Sightings) -> None:
        self._store = store
        self.run_id = uuid.uuid4().hex
        interrupted = store.begin_run(self.run_id)
        if interrupted:
            log.warning(
                "closed as 'interrupted', because their run died: %d sightings", interrupted
            )
        self._metrics: Metrics | None = None
        self._pending: dict[str, _Pending] = {}
        self._pictures = 0
        self._changed = threading.Condition()
        self._closing = False
        self._live = False
        self._error: BaseException | None = None
        self._dropping: set[What] = set()
        self._thread = threading.Thread(target=self._work, name="sightings", daemon=True)
        self._thread.start()

    def count_in(self, metrics: Metrics) -> None:
        """Where rows and pictures are counted."""
        self._metrics = metrics

    def event(self, event: TrackEvent, *, pace: Pace) -> None:
        """Store the sighting as of this event.

        Raises:
            OutputError: it cannot be stored (of a file; a camera's are tried again).
        """
        row = _columns(event)
        pictures: dict[MediaKind, Image] = {}
        if isinstance(event, Left):
            if event.face is not None:
                pictures["face"] = event.face
            if event.image is not None:
                pictures["frame"] = event.image
        with self._changed:
            self._live |= pace == "drops"
            if pace == "waits":
                self._changed.wait_for(lambda: self._error or self._room(event.sighting, pictures))
            self._raise()
            known = self._pending.get(event.sighting)
            if known is None and len(self._pending) >= MAX_ROWS:
                self._drop("row", event.source)
                return
            if pictures and self._pictures >= MAX_PICTURES:
                self._drop("picture", event.source)
                pictures = {}
            if known is None:
                known = self._pending[event.sighting] = _Pending(event.source, {})
            known.row.update(row)
            if isinstance(event, Left):
                known.closes = True
                known.template = event.template
                known.at = row["seen_at"]
                known.pictures = pictures
                self._pictures += bool(pictures)
            self._changed.notify_all()

    def seen(self, uid: str, source: str, at: Moment) -> None:
        """Note that a face is still there: where the run dies, its sighting ends here."""
        with self._changed:
            known = self._pending.setdefault(uid, _Pending(source, {"uid": uid}))
            known.row.update(end_pts=at.pts, end_utc=at.utc)

    def close(self) -> None:
        """Write what waits.

        Raises:
            OutputError: it cannot be written.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._error is None:
            self._store.end_run(self.run_id)
        self._raise()

    def _room(self, uid: str, pictures: Mapping[MediaKind, Image]) -> bool:
        rows = uid in self._pending or len(self._pending) < MAX_ROWS
        return rows and (not pictures or self._pictures < MAX_PICTURES)

    def _raise(self) -> None:
        if self._error is not None:
            raise OutputError(f"the sightings cannot be stored: {self._error}") from self._error

    def _drop(
        self, what: What, source: str, why: str = "the database or its disk is too slow"
    ) -> None:
        if self._metrics is not None:
            self._metrics.add(SIGHTINGS_DROPPED, source=source, what=what)
        if what not in self._dropping:
            self._dropping.add(what)
            log.warning("a %s of a sighting of %s is lost: %s", what, source, why)

    # --- the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    return
                # More events come soon, and one transaction serves them all.
                self._changed.wait_for(lambda: self._closing, pause or FLUSH_SECONDS)
                batch, self._pending = self._pending, {}
                self._pictures = 0
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - raised at the next call
                passing = isinstance(error, (GalleryError, OSError)) and self._live
                with self._changed:
                    if self._closing or not passing:
                        self._error = error
                        self._changed.notify_all()
                        return
                    self._take_back(batch)
                if not pause:
                    log.warning("the sightings cannot be stored now, trying again: %s", error)
                pause = min(max(2 * pause, RETRY_SECONDS[0]), RETRY_SECONDS[1])
                continue
            if pause:
                log.warning("the sightings are stored again")
            pause = 0.0
            with self._changed:
                if len(self._pending) < MAX_ROWS // 2:
                    self._dropping.clear()
                self._changed.notify_all()

    def _take_back(self, batch: dict[str, _Pending]) -> None:
        for uid, older in batch.items():
            newer = self._pending.get(uid)
            if newer is not None:
                older.row.update(newer.row)
                older.closes |= newer.closes
                older.template = newer.template or older.template
                older.pictures = newer.pictures or older.pictures
            self._pending[uid] = older
        self._pictures = sum(bool(one.pictures) for one in self._pending.values())

    def _write(self, batch: Mapping[str, _Pending]) -> None:
        pictures = {uid: self._stored(uid, one) for uid, one in batch.items() if one.pictures}
        templates = {
            uid: _template(one.template, one.row["model_id"])
            for uid, one in batch.items()
            if one.template is not None
        }
        self._store.write(self.run_id, [one.row for one in batch.values()], templates, pictures)
        if self._metrics is not None:
            for one in batch.values():
                if one.closes:
                    self._metrics.add(SIGHTINGS_STORED, source=one.source)

    def _stored(self, uid: str, one: _Pending) -> list[StoredPicture]:
        """The pictures of a sighting, written; none where a camera's cannot be."""
        try:
            return [
                self._store.media.write(uid, kind, image, one.at)
                for kind, image in one.pictures.items()
            ]
        except OSError as error:
            if not self._live:
                raise
            self._drop("picture", one.source, str(error))
            return []


def _columns(event: TrackEvent) -> dict[str, Any]:
    """The columns of ``SightingRow`` that an event tells."""
    row: dict[str, Any] = {
        "uid": event.sighting,
        "source": event.source,
        "file": event.file,
        "track_id": event.track_id,
        "person_id": event.person_id,
        "verdict": event.verdict,
        "similarity": event.similarity,
        "probability": event.probability,
        "uncertainty": event.uncertainty,
        "reason": event.reason,
        "flat": event.flat,
        "candidates": json.dumps([[one.person_id, one.similarity] for one in event.candidates])
        if event.candidates
        else None,
        "model_id": event.model,
    }
    if isinstance(event, Left):
        row |= _moment("start", event.start) | _moment("end", event.end)
        row |= {
            "state": "closed",
            "box": np.array(event.best_box, np.float32),
            "best_pts": event.best_pts,
            "best_score": event.best_score,
            "faces": event.faces,
            "looks": event.looks,
            "clearest": None if event.template is None else _finite(event.template.clearest),
        }
    else:
        row |= {"state": "open", "box": np.array(event.box, np.float32)}
        row |= _moment("end", event.at)
        if event.type == "appeared":
            row |= _moment("start", event.start) | {"faces": 1, "looks": 0}
    if "start_pts" in row:
        row["seen_at"] = row["start_utc"] or datetime.now(UTC)
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _moment(name: str, moment: Moment) -> dict[str, Any]:
    return {f"{name}_pts": moment.pts, f"{name}_utc": moment.utc}


def _template(template: FusedTemplate, model: str) -> dict[str, Any]:
    return {
        "model_id": model,
        "mu": np.asarray(template.mu, "<f2").tobytes(),
        "logvar": np.asarray(template.logvar, "<f2").tobytes(),
    }
