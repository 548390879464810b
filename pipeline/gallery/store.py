"""The gallery's rows: people, photos and embeddings, read and written in short transactions.

Knows nothing of networks and of the index. Each writing method is one transaction: when it
returns, the change is on the disk.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from facestream.engines.closing import Closing
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt, ModelMismatch, PersonExists
from ..core.filenames import readable
from ..core.images import decode_crop
from ..core.types import Floats, Image
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
from .database import Create, open_database, translated, writing
from .edits import merge, remove_photos
from .names import name_key, normalise_name, printable
from .records import Embedded, Face, FaceOfPhoto, Person, Photo
from .rows import find, forget, lookup, owner_of, read_people, without_embedding
from .schema import MetaRow, PersonRow, PhotoRow
from .templates import drop_other_models, erase_templates, write_templates

# Fewer than SQLite takes in one statement.
_VARIABLES = 10_000


class Store(Closing):
    """The gallery's file. May be used from several threads.

    Every method may raise ``GalleryError`` (see ``open_database``); those that take a name raise
    ``PersonNotFound`` where it is not in the gallery, with similar names as suggestions. Letter
    case does not matter in names.

    Args:
        path: absolute path.
        create: whether a missing file is made.
    """

    def __init__(self, path: Path, *, create: Create) -> None:
        self.path = path
        self._writes = 0  # through this object, also those that changed nothing
        self._engine = open_database(path, create=create)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with translated(self.path), Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        # The session joins the connection's transaction, which is committed when it ends well.
        with (
            translated(self.path),
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
            names = [field.name for field in fields(Photo)]
            return [
                Photo(**{name: getattr(row, name) for name in names})
                for row in find(session, name).photos
            ]

    def photo_paths(self, photo_ids: Collection[int]) -> dict[int, str]:
        """Where these photos were when they were added, by id."""
        ids = sorted(photo_ids)
        with self._read() as session:
            return {
                row.id: row.path
                for start in range(0, len(ids), _VARIABLES)
                for row in session.execute(
                    select(PhotoRow.id, PhotoRow.path).where(
                        PhotoRow.id.in_(ids[start : start + _VARIABLES])
                    )
                )
            }

    def crop(self, photo: Photo | int) -> Image:
        """The aligned face of a photo (or of the photo with this id), 112×112×3 BGR uint8.

        Raises GalleryCorrupt if it is gone or damaged.
        """
        photo_id = photo if isinstance(photo, int) else photo.id
        with self._read() as session:
            data = session.scalar(select(PhotoRow.crop).where(PhotoRow.id == photo_id))
        crop = decode_crop(data) if data else None
        if crop is None:
            raise GalleryCorrupt(
                f"the gallery '{printable(str(self.path))}' has no readable picture of photo "
                f"{photo_id}; restore a copy, or remove that person and enrol again"
            )
        return crop

    def owner(self, sha256: str) -> Person | None:
        """The person who has this photo, or None."""
        with self._read() as session:
            return owner_of(session, sha256)

    def snapshot(self, *, columns: Literal["mu", "both"] = "mu") -> Snapshot:
        """All templates; see ``read_snapshot``."""
        with self._read() as session:
            return read_snapshot(session, self.path, columns=columns)

    def delta(self, *, since: Head, after: int, model_id: str | None) -> Delta | None:
        """The changes since a state; see ``read_delta``."""
        with self._read() as session:
            return read_delta(session, self.path, since=since, after=after, model_id=model_id)

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
                f"the gallery '{printable(str(self.path))}' holds embeddings of the model "
                f"'{printable(in_use)}', and '{model_id}' is in use: they cannot be compared; run "
                f"'facestream gallery re-embed --gallery {shlex.quote(str(self.path))}' "
                "(the gallery has the photos)"
            )

    # --- writing ---------------------------------------------------------------------------

    def add_face(self, name: str, face: Face, embedded: Embedded) -> Person | None:
        """Store a photo; the first one creates the person.

        Returns the person who has this photo already; None when it was added. Raises
        ModelMismatch if the gallery's embeddings come from another model.
        """
        name = normalise_name(name)
        now = datetime.now(UTC)
        data = encode_crop(face.crop)
        with self._write() as session:
            in_use = model_in_use(session)
            self._compare(in_use, embedded.model_id)
            if in_use is None:
                session.merge(MetaRow(key="model_id", value=embedded.model_id))
            owner = owner_of(session, face.sha256)
            if owner is not None:
                return owner
            person = lookup(session, name)
            if person is None:
                person = PersonRow(name=name, name_key=name_key(name), created_at=now)
                session.add(person)
                session.flush()
            values = {field.name: getattr(face, field.name) for field in fields(FaceOfPhoto)}
            values["path"] = readable(face.path)
            photo = PhotoRow(person_id=person.id, crop=data, created_at=now, **values)
            session.add(photo)
            session.flush()
            write_templates(
                session,
                self.path,
                embedded.model_id,
                np.array([photo.id], np.int64),
                np.array([person.id], np.int64),
                embedded.mu[None],
                embedded.logvar[None],
            )
            log_change(session, "added", person.id)
            return None

    def remove(self, name: str) -> Person:
        """Remove a person with all photos and embeddings, whose bytes are overwritten."""
        with self._write() as session:
            person = next(read_people(session, find(session, name).id))
            photos = session.scalars(select(PhotoRow.id).where(PhotoRow.person_id == person.id))
            erase_templates(session, self.path, np.array(list(photos), np.int64))
            session.execute(delete(PersonRow).where(PersonRow.id == person.id))
            forget(session, person)
            log_change(session, "removed", person.id)
            return person

    def remove_photos(self, name: str, photo_ids: Sequence[int]) -> Person:
        """Remove some photos of a person and their embeddings, whose bytes are overwritten.

        Raises GalleryError if no photo of the person would be left.
        """
        with self._write() as session:
            return remove_photos(session, self.path, find(session, name), photo_ids)

    def merge(self, keep: str, other: str) -> Person:
        """Make two people one: ``keep`` gets the photos of ``other``, who is removed.

        The photos keep their paths and times; ``Person.merged`` says who was taken in.

        Raises GalleryError if both names are the same person's.
        """
        with self._write() as session:
            return merge(session, self.path, find(session, keep), find(session, other))

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            PersonExists: another person is called ``new``.
            GalleryError: ``new`` cannot be a name.
        """
        new = normalise_name(new)
        with self._write() as session:
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
        """Store N embeddings next to those of the model in use; skips photos removed meanwhile."""
        with self._write() as session:
            found = session.execute(
                select(PhotoRow.id, PhotoRow.person_id).where(PhotoRow.id.in_(photo_ids))
            )
            owners = {row.id: row.person_id for row in found}
            rows = [row for row, photo in enumerate(photo_ids) if photo in owners]
            ids = np.array(photo_ids, np.int64)[rows]
            people = np.array([owners[photo] for photo in ids.tolist()], np.int64)
            write_templates(session, self.path, model_id, ids, people, mu[rows], logvar[rows])

    def switch_model(self, model_id: str) -> bool:
        """Use this model and drop the others' embeddings; False, unchanged, if it lacks a photo."""
        with self._write() as session:
            if without_embedding(session, model_id):
                return False
            drop_other_models(session, model_id)
            session.merge(MetaRow(key="model_id", value=model_id))
            log_change(session, "model")
            return True


def encode_crop(crop: Image) -> bytes:
    """PNG: without loss, so that embedding it again gives the embedding of the photo."""
    done, data = cv2.imencode(".png", crop)
    if not done:
        raise ValueError(f"a crop of shape {crop.shape} cannot be stored as PNG")
    return bytes(data)
