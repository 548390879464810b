"""Erases sightings and pictures by age, verdict and total size, a little at a time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, select

from ..core.config import RetentionSettings
from ..core.errors import GalleryError, OutputError
from ..metrics.families import SIGHTINGS_ERASED
from ..metrics.store import Metrics
from ..storage.schema import ForgottenRow, MediaRow, SightingRow
from .erasing import BATCH, count_erasure, erase_sightings, note_pictures
from .forget import finish
from .receipts import Receipt, read_receipt, store_receipt
from .store import Sightings

log = logging.getLogger(__name__)

VERDICTS = ("known", "stranger", "unsure")
EVERY_SECONDS = 60.0
"""How often a run looks for what is too old."""
# Between two transactions of a run, so that its own rows are written.
_PAUSE = 0.05
# A run does not go on for longer with a sighting that was erased while it was open.
_REMEMBERED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Expired:
    """What is too old, or too much.

    Attributes:
        sightings: how many, by verdict.
        pictures: how many too old or too many pictures of other sightings.
        bytes: how much these take; not of pictures that go with their sightings.
    """

    sightings: dict[str, int]
    pictures: int = 0
    bytes: int = 0

    @property
    def nothing(self) -> bool:
        """Whether all may stay."""
        return not self.pictures and not any(self.sightings.values())


class Retention:
    """Keeps a database within the limits of the settings. Open sightings stay, and so do people.

    Args:
        sightings: the database.
        limits: of the settings ``storage.retention``.
    """

    def __init__(self, sightings: Sightings, limits: RetentionSettings) -> None:
        self._sightings = sightings
        self._limits = limits

    @property
    def limited(self) -> bool:
        """Whether anything is ever too old."""
        return any(value is not None for _, value in self._limits)

    def expired(self, now: datetime | None = None) -> Expired:
        """What is to be erased by now; nothing is changed."""
        now = now or datetime.now(UTC)
        count = select(sa.func.count()).select_from(SightingRow)
        with self._sightings.reading() as connection:
            sightings = {
                verdict: int(connection.execute(count.where(*conditions)).scalar_one())
                for verdict, conditions in self._too_old(now).items()
            }
            pictures = self._pictures(connection, now, limit=None)
        return Expired(sightings, len(pictures), sum(row.size for row in pictures))

    def enforce(
        self, *, now: datetime | None = None, stop: threading.Event | None = None
    ) -> Receipt | None:
        """Erase what is too old, in short transactions.

        Args:
            now: when it is judged.
            stop: ends it after a transaction; with it, there is a pause between two.

        Returns:
            The receipt, which is in the database too; None where nothing was erased.

        Raises:
            GalleryError: the database cannot be written; what is erased by then is gone.
            OutputError: a picture cannot be erased; the next time tries again.
        """
        now = now or datetime.now(UTC)
        files = finish(self._sightings)
        rows: Counter[str] = Counter()
        while stop is None or not stop.is_set():
            with self._sightings.writing() as connection:
                done = self._erase_some(connection, now)
            files += finish(self._sightings)
            if not done:
                break
            rows += done
            if stop is not None:
                stop.wait(_PAUSE)
        if not rows:
            return None
        receipt = Receipt("retention", rows=dict(rows), files=files)
        with self._sightings.writing() as connection:
            store_receipt(connection, _of_the_day(connection, receipt))
            old = ForgottenRow.at < now - _REMEMBERED
            sightings = ForgottenRow.key.startswith("sighting/")
            connection.execute(sa.delete(ForgottenRow).where(old, sightings))
        self._sightings.scrub()
        return receipt

    def _erase_some(self, connection: Connection, now: datetime) -> Counter[str]:
        for conditions in self._too_old(now).values():
            oldest = select(SightingRow.id).where(*conditions).order_by(SightingRow.seen_at)
            if ids := connection.scalars(oldest.limit(BATCH)).all():
                return erase_sightings(connection, ids)
        pictures = self._pictures(connection, now, limit=BATCH)
        if pictures:
            paths = [row.path for row in pictures]
            note_pictures(connection, paths)
            connection.execute(sa.delete(MediaRow).where(MediaRow.path.in_(paths)))
            count_erasure(connection)
        return Counter(media=len(pictures)) if pictures else Counter()

    def _too_old(self, now: datetime) -> dict[str, list[sa.ColumnElement[bool]]]:
        """The conditions of each verdict that has a limit."""
        return {
            verdict: [
                SightingRow.verdict == verdict,
                SightingRow.state != "open",
                SightingRow.seen_at < now - timedelta(seconds=age),
            ]
            for verdict in VERDICTS
            if (age := getattr(self._limits, verdict)) is not None
        }

    def _pictures(
        self, connection: Connection, now: datetime, *, limit: int | None
    ) -> Sequence[sa.Row[Any]]:
        """Pictures that are too old or too many, of sightings that are not."""
        oldest: Any = (
            select(MediaRow.path, MediaRow.size)
            .join(SightingRow, SightingRow.id == MediaRow.sighting_id)
            .where(SightingRow.state != "open")
            .order_by(SightingRow.seen_at, SightingRow.id)
        )
        for conditions in self._too_old(now).values():
            oldest = oldest.where(sa.not_(sa.and_(*conditions)))
        found: list[sa.Row[Any]] = []
        if self._limits.pictures is not None:
            before = now - timedelta(seconds=self._limits.pictures)
            found += connection.execute(oldest.where(SightingRow.seen_at < before).limit(limit))
            if limit is not None and found:
                return found
            oldest = oldest.where(SightingRow.seen_at >= before)
        if self._limits.max_size is not None:
            total = connection.execute(select(sa.func.sum(MediaRow.size))).scalar() or 0
            excess = int(total) - self._limits.max_size - sum(row.size for row in found)
            for row in connection.execute(oldest.limit(limit)) if excess > 0 else ():
                if excess <= 0:
                    break
                excess -= row.size
                found.append(row)
        return found


def _of_the_day(connection: Connection, receipt: Receipt) -> Receipt:
    """The receipt with those of the same day: there is one a day."""
    name = f"retention-{receipt.at[:10]}"
    before = read_receipt(connection, name)
    if before is None:
        return replace(receipt, id=name)
    rows = dict(Counter(before.rows) + Counter(receipt.rows))
    return replace(receipt, id=name, rows=rows, files=before.files + receipt.files)


class RetentionThread:
    """Enforces the limits while a run goes on; first it finishes what a crash left.

    Errors are logged, and it tries again.
    """

    def __init__(self, sightings: Sightings, limits: RetentionSettings) -> None:
        self._sightings = sightings
        self._retention = Retention(sightings, limits)
        self._stop = threading.Event()
        self._metrics: Metrics | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def count_in(self, metrics: Metrics) -> None:
        """Where erased sightings and pictures are counted."""
        self._metrics = metrics

    def close(self) -> None:
        """End after the transaction that goes on."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._enforce()
                self._failing = False
            except (GalleryError, OutputError, OSError) as error:
                if not self._failing:
                    log.warning("what is too old cannot be erased now, trying again: %s", error)
                self._failing = True
            self._stop.wait(EVERY_SECONDS)

    def _enforce(self) -> None:
        if not self._retention.limited:
            finish(self._sightings)
            return
        receipt = self._retention.enforce(stop=self._stop)
        if receipt is None:
            return
        sightings, pictures = receipt.rows.get("sightings", 0), receipt.files
        log.info("erased by age or size: %d sightings, %d pictures", sightings, pictures)
        if self._metrics is not None:
            self._metrics.add(SIGHTINGS_ERASED, sightings, what="sighting")
            self._metrics.add(SIGHTINGS_ERASED, pictures, what="picture")
