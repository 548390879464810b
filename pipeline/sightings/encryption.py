"""Encrypts a database at rest, changes its keys, and decrypts it, while others read and write.

Each step is a short transaction, and what is done is told by the data itself: after a crash the
same command goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import select

from ..core.errors import ConfigError, UsageError
from ..core.user_key import ENVIRONMENT, user_key
from ..gallery.crops import place_of_crop
from ..gallery.templates import place_of as place_of_block
from ..storage.schema import DataKeyRow, MediaRow, PhotoRow, SightingTemplateRow
from ..storage.schema import TemplateRow as BlockRow
from ..storage.sealed import place_of
from ..storage.service_state import ServiceStateRow, place_of_state
from ..storage.vault import (
    EncryptionState,
    add_key,
    fingerprint,
    required_key,
    set_state,
    vault_of,
    wrap,
)
from .erasing import note_pictures
from .forget import finish
from .media import StoredPicture
from .resealing import BATCH, SealedColumns, next_rows, other_pictures, to_do, written_anew
from .store import Sightings


class StepCount(Protocol):
    """Gets how many rows and pictures are done, and how many there are."""

    def __call__(self, done: int, *, total: int) -> None: ...


def _silent(done: int, *, total: int) -> None:
    pass


# A new table with embeddings or pictures is named here.
SEALED = (
    SealedColumns(
        BlockRow, ("mu", "logvar"), lambda row, name: place_of_block(row.model_id, row.block, name)
    ),
    SealedColumns(PhotoRow, ("crop",), lambda row, _: place_of_crop(row.sha256)),
    SealedColumns(
        SightingTemplateRow,
        ("mu", "logvar"),
        lambda row, name: place_of(row.sighting_id, row.model_id, name),
    ),
    SealedColumns(ServiceStateRow, ("content",), lambda row, _: place_of_state(row.key)),
)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key of a database."""

    id: int
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EncryptionStatus:
    """How a database is encrypted.

    Attributes:
        state: ``off`` and ``on``; else a change that is not finished, or goes on.
        user_key: fingerprint of the key that opens it; None where it is ``off``.
        given_key: fingerprint of the key that is given; None without one.
        data_keys: those in use.
        to_do: rows and pictures that a change still has to encrypt or decrypt.
    """

    state: EncryptionState
    user_key: str | None
    given_key: str | None
    data_keys: tuple[DataKey, ...]
    to_do: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        keys = [{**asdict(one), "created_at": one.created_at.isoformat()} for one in self.data_keys]
        return {**asdict(self), "data_keys": keys}


class Encryption:
    """The encryption of a database.

    Args:
        sightings: the database.
    """

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings

    def status(self) -> EncryptionStatus:
        """How it is encrypted; the key is not needed (`without_key`)."""
        try:
            given = user_key()
        except ConfigError:
            given = None
        with self._sightings.reading() as connection:
            vault_of(connection).refresh(connection)
            state = vault_of(connection).state
            rows = connection.execute(select(DataKeyRow.__table__).order_by(DataKeyRow.id)).all()
            active = next((row.id for row in rows if row.state == "active"), None)
            left = to_do(connection, SEALED, active)
        return EncryptionStatus(
            state,
            rows[-1].user_key if rows else None,
            None if given is None else fingerprint(given),
            tuple(DataKey(row.id, row.state, row.created_at) for row in rows),
            left,
        )

    def enable(self, *, progress: StepCount = _silent) -> int:
        """Encrypt everything by a new data key, wrapped by the user's key.

        Returns:
            How many rows and pictures were encrypted now.

        Raises:
            UsageError: it is encrypted already, or no key is given.
            GalleryError, OutputError: the database or a picture cannot be written; calling it
                again goes on.
        """
        if user_key() is None:
            raise UsageError(
                "no key is given: 'facestream db key new FILE' makes one; name the file in "
                f"storage.key_file, or set {ENVIRONMENT} to its content"
            )
        state = self._state()
        if state not in ("off", "enabling"):
            raise UsageError(f"the database is encrypted already ({state})")
        if state == "off":
            self._begin("enabling")
        return self._go_on("on", progress)

    def rotate(self, *, progress: StepCount = _silent) -> int:
        """Encrypt everything anew by a new data key; the former ones are erased at the end.

        Returns and raises as `enable`; UsageError if it is not encrypted.
        """
        state = self._state()
        if state not in ("on", "rotating"):
            raise UsageError(_not_encrypted(state))
        if state == "on":
            self._begin("rotating")
        return self._go_on("on", progress)

    def change_user_key(self, new: bytes) -> None:
        """Wrap the data keys by another key of the user; nothing else changes.

        Raises:
            UsageError: the database is not encrypted.
            GalleryError: the key that is given is not the one in use.
        """
        with self._sightings.writing() as connection:
            rows = connection.execute(select(DataKeyRow.__table__)).all()
            vault = vault_of(connection)
            if not rows:
                raise UsageError(_not_encrypted("off"))
            old = required_key(f"the database '{self._sightings.location}'")
            for row in rows:
                wrap(connection, row.id, vault.unwrapped(row, old), new)
            set_state(connection, vault.state)
        self._sightings.scrub()

    def disable(self, *, progress: StepCount = _silent) -> int:
        """Decrypt everything and erase the data keys; returns and raises as `rotate`."""
        state = self._state()
        if state == "off":
            raise UsageError(_not_encrypted("off"))
        with self._sightings.writing() as connection:
            connection.execute(sa.update(DataKeyRow).values(state="old"))
            set_state(connection, "disabling")
        return self._go_on("off", progress)

    def _state(self) -> EncryptionState:
        with self._sightings.reading() as connection:
            vault_of(connection).refresh(connection)
            return vault_of(connection).state

    def _begin(self, state: EncryptionState) -> None:
        with self._sightings.writing() as connection:
            key = required_key(f"the database '{self._sightings.location}'")
            for row in connection.execute(select(DataKeyRow.__table__)):
                vault_of(connection).unwrapped(row, key)  # else nobody could open both
            add_key(connection, key)
            set_state(connection, state)

    def _go_on(self, end: EncryptionState, progress: StepCount) -> int:
        """Bring everything into the form that is written now, then keep only its key."""
        done = 0
        finish(self._sightings)
        while True:
            with self._sightings.reading() as connection:
                vault_of(connection).refresh(connection)
                total = done + to_do(connection, SEALED, vault_of(connection).active)
            before = done
            for count in (*self._rows(), *self._pictures()):
                done += count
                progress(done, total=total)
            with self._sightings.writing() as connection:
                active = vault_of(connection).active
                # A run may have begun a transaction before it knew.
                if done == before or not to_do(connection, SEALED, active):
                    old = sa.delete(DataKeyRow)
                    if active is not None:
                        old = old.where(DataKeyRow.id != active)
                    connection.execute(old)
                    set_state(connection, end)
                    break
        self._sightings.scrub()
        with self._sightings.reading() as connection:
            vault_of(connection).refresh(connection)
        return done

    def _rows(self) -> Iterator[int]:
        """Seal rows anew, a batch in each transaction; yields how many."""
        for sealed in SEALED:
            last: Sequence[Any] | None = None
            while True:
                with self._sightings.writing() as connection:
                    count, last = next_rows(connection, sealed, last)
                if last is None:
                    break
                yield count

    def _pictures(self) -> Iterator[int]:
        """Write pictures anew under other names, then erase the former files; yields how many."""
        media = self._sightings.media
        while True:
            with self._sightings.reading() as connection:
                rows = connection.execute(other_pictures(media.active).limit(BATCH)).all()
                if not rows:
                    return
                written = [written_anew(connection, media, row) for row in rows]
            with self._sightings.writing() as connection:
                for row, one in zip(rows, written, strict=True):
                    values: dict[str, Any] = {"path": one}
                    if isinstance(one, StoredPicture):
                        values = {"path": one.path, "sha256": one.sha256, "size": one.size}
                    changed = connection.execute(
                        sa.update(MediaRow).where(MediaRow.path == row.path).values(values)
                    ).rowcount
                    # Erased meanwhile: then the new file goes, too.
                    note_pictures(connection, [row.path] if changed else [values["path"]])
            finish(self._sightings)
            yield len(rows)


def _not_encrypted(state: EncryptionState) -> str:
    if state == "off":
        return "the database is not encrypted; 'facestream db key enable' encrypts it"
    return f"a change is not finished ({state}): run its command again first"
