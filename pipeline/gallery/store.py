"""The gallery's rows: people, photos and embeddings, read and written in short transactions.

Knows nothing of networks and of the index. Each writing method is one transaction: when it
returns, the change is on the disk.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from facestream.engines.closing import Closing
from facestream.engines.private_files import warn_once
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ..core.errors import (
    GalleryCorrupt,
    GalleryError,
    ImageError,
    ModelMismatch,
    PersonExists,
    UsageError,
)
from ..core.location import DatabaseUrl, Location
from ..core.types import Floats, Image
from ..identity.calibrated import CalibratedRules
from ..storage.database import Create, chunks, open_database, translated, wipe_journal, writing
from ..storage.history import OperationKind, RecordedChange, changing
from ..storage.names import name_key, normalise_name, printable
from ..storage.schema import MetaRow, PhotoRow
from .calibrated import read_calibration
from .changes import (
    Delta,
    Head,
    Snapshot,
    log_change,
    model_in_use,
    read_delta,
    read_head,
    read_snapshot,
)
from .crops import decode_crop, opened_crop
from .edits import insert_photo, merge, remove_person, remove_photos, restore, set_aside
from .embeddings import check_embeddings, shipped_dim
from .notes import owners_of, photo_id_of, read_notes, read_photos, write_notes
from .records import NO_NOTES, Embedded, Face, Person, Photo, PhotoNotes
from .rows import (
    describe_left_out,
    find,
    find_or_make,
    left_out,
    lookup,
    owner_of,
    read_people,
    without_embedding,
)
from .templates import dimension, drop_other_models, read_some, write_templates

log = logging.getLogger(__name__)

DATES = ("taken_at", "valid_from", "valid_until")


class Store(Closing):
    """The gallery's rows. May be used from several threads.

    Every method may raise ``GalleryError`` (see ``open_database``); those that take a name raise
    ``PersonNotFound`` where it is not in the gallery, with similar names as suggestions. Letter
    case does not matter in names.

    Args:
        location: absolute path, or URL.
        create: whether a missing file is made, or tables in an empty database.

    Attributes:
        location: as given.
    """

    def __init__(self, location: Location, *, create: Create) -> None:
        self.location = location
        self._writes = 0  # through this object, also those that changed nothing
        self._engine = open_database(location, create=create)

    @property
    def path(self) -> Path:
        """Of the file; raises UsageError where the database is a server's."""
        if isinstance(self.location, DatabaseUrl):
            raise UsageError(f"'{self.location}' is no file; this is done with files only")
        return self.location

    def close(self) -> None:
        """Close the database."""
        # Another process may be writing: it does this when it ends.
        with suppress(DBAPIError, OSError):
            wipe_journal(self._engine, self.location)
        self._engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with translated(self.location), Session(self._engine) as session:
            yield session

    @contextmanager
    def _erase(self) -> Iterator[Session]:
        """As ``_write``, for changes after which something must not be found any more."""
        with self._write() as session:
            yield session
        try:
            wipe_journal(self._engine, self.location)
        except (DBAPIError, OSError) as error:
            log.warning(
                "removed, but the gallery's journal could not be overwritten yet (%s); the next "
                "process that closes the gallery does it",
                error,
            )

    @contextmanager
    def _write(self) -> Iterator[Session]:
        # The session joins the connection's transaction, which is committed when it ends well.
        with (
            translated(self.location),
            writing(self._engine) as connection,
            Session(connection) as session,
        ):
            yield session
            session.flush()
        self._writes += 1

    # --- reading ---------------------------------------------------------------------------

    @property
    def model_id(self) -> str | None:
        """The model whose embeddings are in use; None while there are no photos."""
        with self._read() as session:
            return model_in_use(session)

    def head(self) -> Head:
        """The state of the gallery: it differs after each change, of all processes."""
        with self._read() as session:
            return read_head(session)

    def calibrated(self) -> CalibratedRules | None:
        """The calibration of the database (``facestream calibrate``); None: there is none."""
        with self._read() as session:
            return read_calibration(session.connection())

    def people(self) -> list[Person]:
        """All people, by name."""
        with self._read() as session:
            return sorted(read_people(session), key=lambda person: name_key(person.name))

    def person(self, name: str) -> Person:
        """One person."""
        with self._read() as session:
            return next(read_people(session, find(session, name).id))

    def photos(self, name: str) -> list[Photo]:
        """A person's photos, oldest first."""
        with self._read() as session:
            return read_photos(session, find(session, name))

    def templates_of(self, name: str, *, learned: bool = True) -> Floats:
        """N×D embeddings of a person's photos that are not set aside; none of nobody.

        Without ``learned`` only of photos that somebody added, not learned from sightings.
        """
        with self._read() as session:
            person = lookup(session, name)
            ids = [] if person is None else [photo.id for photo in person.photos]
            notes = read_notes(session, ids)
            for photo, note in notes.items():
                if note.aside_at is not None or (note.origin is not None and not learned):
                    ids.remove(photo)
            return read_some(session, model_in_use(session), np.array(ids, np.int64)).mu

    def photo_id(self, wanted: str) -> int:
        """The photo with this number, path or file name, of anybody.

        Raises GalleryError if there is none, or several have the file name.
        """
        with self._read() as session:
            return photo_id_of(session, wanted)

    def photo_notes(self, photo_id: int) -> PhotoNotes | None:
        """What is noted of a photo; None where nothing is."""
        with self._read() as session:
            return read_notes(session, [photo_id]).get(photo_id)

    def owner_names(self, photo_ids: Collection[int]) -> dict[int, str]:
        """Whose photos these are, by their ids."""
        with self._read() as session:
            return owners_of(session, photo_ids)

    def photo_paths(self, photo_ids: Collection[int]) -> dict[int, str]:
        """Where these photos were when they were added, by id."""
        paths = select(PhotoRow.id, PhotoRow.path)
        with self._read() as session:
            return {
                row.id: row.path
                for some in chunks(sorted(photo_ids))
                for row in session.execute(paths.where(PhotoRow.id.in_(some)))
            }

    def crop(self, photo: Photo | int) -> Image:
        """The aligned face of a photo (or of the photo with this id), 112×112×3 BGR uint8.

        Raises GalleryCorrupt if it is gone or damaged.
        """
        photo_id = photo if isinstance(photo, int) else photo.id
        with self._read() as session:
            query = select(PhotoRow.crop, PhotoRow.sha256).where(PhotoRow.id == photo_id)
            row = session.execute(query).first()
            data = b"" if row is None else opened_crop(session, row)
        try:
            return decode_crop(data, name="it")
        except ImageError as error:
            raise GalleryCorrupt(
                f"the gallery '{printable(str(self.location))}' has no readable picture of photo "
                f"{photo_id}; restore a copy, or remove that person and enrol again"
            ) from error

    def owner(self, sha256: str) -> Person | None:
        """The person who has this photo, or None."""
        with self._read() as session:
            return owner_of(session, sha256)

    def snapshot(self, *, columns: Literal["mu", "both"] = "mu", aside: bool = False) -> Snapshot:
        """All templates that can be used; a warning names the photos of the others.

        With ``aside`` also those of photos that are set aside.
        """
        with self._read() as session:
            snapshot = read_snapshot(session, columns=columns, aside=aside)
            missing = left_out(session, snapshot.templates.photo_ids.tolist())
        if missing:
            command = self._re_embed_command()
            warn_once(
                Path(str(self.location)),
                f"{describe_left_out(missing)}; {command} computes them anew",
            )
        return snapshot

    def delta(self, *, since: Head, after: int, model_id: str | None) -> Delta | None:
        """The changes since a state; see ``read_delta``."""
        with self._read() as session:
            return read_delta(session, since=since, after=after, model_id=model_id)

    def without_embedding(self, model_id: str) -> list[int]:
        """The photos that this model has not embedded yet."""
        with self._read() as session:
            return without_embedding(session, model_id)

    def require_model(self, model_id: str) -> None:
        """Check that this model's embeddings can be searched here.

        Raises ModelMismatch if the gallery's come from another; names the command that re-embeds.
        """
        self._compare(self.model_id, model_id)

    def _compare(self, in_use: str | None, model_id: str) -> None:
        if in_use is not None and in_use != model_id:
            raise ModelMismatch(
                f"the gallery '{printable(str(self.location))}' holds embeddings of the model "
                f"'{printable(in_use)}', and '{model_id}' is in use: they cannot be compared; run "
                f"{self._re_embed_command()} (the gallery has the photos)"
            )

    def _re_embed_command(self) -> str:
        return f"'facestream gallery re-embed --gallery {shlex.quote(str(self.location))}'"

    def check_embedding(self, embedded: Embedded) -> None:
        """Raises GalleryError if an embedding cannot be one of its model's here."""
        with self._read() as session:
            _check(session, embedded.model_id, embedded.mu[None], embedded.logvar[None])

    # --- writing ---------------------------------------------------------------------------

    @contextmanager
    def changing(
        self, kind: OperationKind, summary: str
    ) -> Iterator[tuple[Session, RecordedChange]]:
        """A transaction that ``facestream undo`` takes back; see `storage.history.changing`."""
        with self._write() as session, changing(session.connection(), kind, summary) as change:
            yield session, change
            session.flush()

    def add_face(self, name: str, face: Face, embedded: Embedded) -> Person | int:
        """Store a photo; the first one creates the person.

        Returns the id of the photo, or the person who has it already. Raises
        ModelMismatch if the gallery's embeddings come from another model, GalleryError if the
        embedding is not finite or has another length than they, or the photo's dates contradict.
        """
        name = normalise_name(name)
        face.notes.check()
        with self._write() as session:
            in_use = model_in_use(session)
            self._compare(in_use, embedded.model_id)
            _check(session, embedded.model_id, embedded.mu[None], embedded.logvar[None])
            if in_use is None:
                session.merge(MetaRow(key="model_id", value=embedded.model_id))
            owner = owner_of(session, face.sha256)
            if owner is not None:
                return owner
            person, _ = find_or_make(session, name)
            photo = insert_photo(session, person.id, face, embedded)
            log_change(session, "added", person.id)
            return photo

    def remove(self, name: str) -> Person:
        """Remove a person with all photos and embeddings, whose bytes are overwritten."""
        with self._erase() as session:
            person = next(read_people(session, find(session, name).id))
            remove_person(session, person)
            return person

    def remove_photos(self, name: str, photo_ids: Sequence[int]) -> Person:
        """Remove some photos of a person and their embeddings, whose bytes are overwritten.

        Raises GalleryError if no photo of the person would be left.
        """
        with self._erase() as session:
            return remove_photos(session, find(session, name), photo_ids)

    def set_aside(self, photo_ids: Sequence[int], *, reason: str = "") -> list[int]:
        """Keep these photos out of recognition; they stay stored. Returns those that took part."""
        with self._write() as session:
            return set_aside(session, sorted(owners_of(session, photo_ids)), reason)

    def restore_photos(self, photo_ids: Sequence[int]) -> list[int]:
        """Let these photos take part again; returns those that were set aside."""
        with self._write() as session:
            return restore(session, sorted(owners_of(session, photo_ids)))

    def date_photo(self, photo_id: int, notes: PhotoNotes) -> None:
        """Give a photo the dates of ``notes``; what else is noted of it stays.

        Raises GalleryError if there is no such photo, or the dates contradict each other.
        """
        notes.check()
        with self._write() as session:
            if not owners_of(session, [photo_id]):
                raise GalleryError(f"the gallery has no photo {photo_id}")
            old = read_notes(session, [photo_id]).get(photo_id, NO_NOTES)
            dates = {name: getattr(notes, name) for name in DATES}
            write_notes(session, photo_id, replace(old, **dates))
            log_change(session, "dated", photo_id)

    def merge(self, keep: str, other: str) -> Person:
        """Make two people one: ``keep`` gets the photos of ``other``, who is removed.

        The photos keep their paths and times; ``Person.merged`` says who was taken in.

        Raises GalleryError if both names are the same person's.
        """
        with self._erase() as session:
            return merge(session, find(session, keep), find(session, other))

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            PersonExists: another person is called ``new``.
            GalleryError: ``new`` cannot be a name.
        """
        new = normalise_name(new)
        with self._erase() as session:
            person = find(session, old)
            other = lookup(session, new)
            if other is not None and other.id != person.id:
                raise PersonExists(
                    f"there is already a person called '{other.name}'; choose another name, or "
                    "make the two one with 'facestream gallery merge'"
                )
            person.name, person.name_key = new, name_key(new)
            log_change(session, "renamed", person.id)
            return next(read_people(session, person.id))

    def add_embeddings(
        self, photo_ids: Sequence[int], mu: Floats, logvar: Floats, *, model_id: str
    ) -> None:
        """Store N embeddings next to those of the model in use; skips photos removed meanwhile.

        Raises GalleryError if one is not finite or not as long as the shipped model's.
        """
        check_embeddings(mu, logvar, dim=shipped_dim(model_id))
        with self._write() as session:
            found = session.execute(
                select(PhotoRow.id, PhotoRow.person_id).where(PhotoRow.id.in_(photo_ids))
            )
            owners = {row.id: row.person_id for row in found}
            rows = [row for row, photo in enumerate(photo_ids) if photo in owners]
            ids = np.array(photo_ids, np.int64)[rows]
            people = np.array([owners[photo] for photo in ids.tolist()], np.int64)
            write_templates(session, model_id, ids, people, mu[rows], logvar[rows])

    def switch_model(self, model_id: str) -> bool:
        """Use this model and drop the others' embeddings; False, unchanged, if it lacks a photo."""
        with self._erase() as session:
            if without_embedding(session, model_id):
                return False
            drop_other_models(session, model_id)
            session.merge(MetaRow(key="model_id", value=model_id))
            log_change(session, "model")
            return True


def _check(session: Session, model_id: str, mu: Floats, logvar: Floats) -> None:
    check_embeddings(mu, logvar, dim=dimension(session, model_id))
