"""The gallery's rows: people, photos and embeddings, read and written in short transactions.

Knows nothing of networks and of the index. Each writing method is one transaction: when it
returns, the change is on the disk.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from ..core.errors import GalleryCorrupt, ModelMismatch, PersonExists
from ..core.types import Floats, Image
from . import changes, queries
from .cache import TemplateCache
from .changes import Head
from .database import (
    Create,
    open_database,
    translated,
    writing,
)
from .names import name_key, normalise_name, printable
from .records import (
    Embedded,
    Face,
    Person,
    Photo,
)
from .schema import EmbeddingRow, PersonRow, PhotoRow
from .templates import (
    Delta,
    Templates,
    read_delta,
    read_names,
    read_rows,
    read_templates,
)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All embeddings of the model in use with their uncertainty, at one moment.

    Attributes:
        model_id: None when nothing was ever added.
        names: person id to name.
        photo_ids: N int64, ascending.
        person_ids: N int64.
        mu: N×D float32, not normalised.
        logvar: N×D float32.
    """

    model_id: str | None
    names: dict[int, str]
    photo_ids: NDArray[np.int64]
    person_ids: NDArray[np.int64]
    mu: Floats
    logvar: Floats


class Store:
    """The gallery's file. May be used from several threads.

    Attributes:
        changes: counts the writes through this object, also those that changed nothing.
        cache: the file beside it that large galleries are searched from.

    Args:
        path: absolute path.
        create: what to do when there is no file.

    Raises:
        GalleryError: see ``open_database``; all methods may raise it too.
    """

    def __init__(self, path: Path, *, create: Create) -> None:
        self.path = path
        self.changes = 0
        self.cache = TemplateCache(path)
        self._engine = open_database(path, create=create)

    def close(self) -> None:
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
        self.changes += 1

    @contextmanager
    def locked(self) -> Iterator[Session]:
        """A transaction that keeps other writers away; it changes nothing people would see.

        Raises:
            GalleryError: another process is writing: this does not wait.
        """
        with (
            translated(self.path),
            writing(self._engine, patience="none") as connection,
            Session(connection) as session,
        ):
            yield session
            session.flush()

    # --- reading ---------------------------------------------------------------------------

    def model_id(self) -> str | None:
        """The model in use; None while there are no photos."""
        with self._read() as session:
            return queries.model_id(session)

    def head(self) -> Head:
        """The state of the gallery: it differs after each change, of all processes."""
        with self._read() as session:
            return changes.head(session)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        with self._read() as session:
            return sorted(queries.people(session), key=lambda person: name_key(person.name))

    def person(self, name: str) -> Person:
        """One person.

        Raises:
            PersonNotFound: names the people with a similar name.
        """
        with self._read() as session:
            return next(queries.people(session, queries.find(session, name).id))

    def photos(self, person_id: int) -> list[Photo]:
        """A person's photos, oldest first."""
        with self._read() as session:
            rows = session.scalars(
                select(PhotoRow).where(PhotoRow.person_id == person_id).order_by(PhotoRow.id)
            )
            return [queries.photo(row) for row in rows]

    def crop(self, photo_id: int) -> Image:
        """The kept face, 112×112×3 BGR uint8.

        Raises:
            GalleryCorrupt: it is not there or cannot be decoded.
        """
        with self._read() as session:
            data = session.scalar(select(PhotoRow.crop).where(PhotoRow.id == photo_id))
        return self._decoded(photo_id, data)

    def owner(self, sha256: str) -> str | None:
        """The name of the person who has this photo, or None."""
        with self._read() as session:
            return session.scalar(
                select(PersonRow.name).join(PersonRow.photos).where(PhotoRow.sha256 == sha256)
            )

    def snapshot(self) -> Snapshot:
        """All embeddings, read in one transaction.

        Raises:
            GalleryCorrupt: embeddings of different lengths.
        """
        with self._read() as session:
            model_id = queries.model_id(session)
            photo_ids, person_ids, (mu, logvar) = read_rows(
                session, self.path, model_id, columns=("mu", "logvar")
            )
            names = read_names(session)
        return Snapshot(model_id, names, photo_ids, person_ids, mu, logvar)

    def templates(self) -> Templates:
        """All that an index is built from, read in one transaction.

        Raises:
            GalleryCorrupt: embeddings of different lengths.
        """
        with self._read() as session:
            return read_templates(session, self.path)

    def delta(self, *, since: Head, after: int, model_id: str | None) -> Delta | None:
        """What changed since a state; see ``read_delta``."""
        with self._read() as session:
            return read_delta(session, self.path, since=since, after=after, model_id=model_id)

    def happened(self, state: Head) -> bool:
        """True when this is an earlier state of this gallery, or its state now."""
        with self._read() as session:
            return changes.since(session, state) is not None

    def names(self) -> dict[int, str]:
        """Everybody's name by id."""
        with self._read() as session:
            return read_names(session)

    # --- writing ---------------------------------------------------------------------------

    def add(self, name: str, face: Face, embedded: Embedded) -> tuple[Person, int] | str:
        """Keep a photo; the person is made with the first one.

        Returns:
            The person and the photo's id, or the name of the person who has this photo already.

        Raises:
            GalleryError: the name cannot be used.
            ModelMismatch: the gallery's embeddings come from another model.
        """
        name = normalise_name(name)
        now = datetime.now(UTC)
        data = queries.encoded(face.crop)
        with self._write() as session:
            self._claim_model(session, embedded.model_id)
            holder = session.scalar(
                select(PersonRow.name).join(PersonRow.photos).where(PhotoRow.sha256 == face.sha256)
            )
            if holder is not None:
                return holder
            person = queries.lookup(session, name)
            if person is None:
                person = PersonRow(name=name, name_key=name_key(name), created_at=now)
                session.add(person)
                session.flush()
            photo = PhotoRow(
                person_id=person.id,
                path=face.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                sha256=face.sha256,
                width=face.width,
                height=face.height,
                box=face.box.reshape(-1),
                landmarks=face.landmarks.reshape(-1),
                score=face.score,
                crop=data,
                created_at=now,
            )
            session.add(photo)
            session.flush()
            session.add(
                EmbeddingRow(
                    photo_id=photo.id,
                    model_id=embedded.model_id,
                    mu=embedded.mu,
                    logvar=embedded.logvar,
                    created_at=now,
                )
            )
            changes.bump(session, "added", person.id)
            session.flush()
            return next(queries.people(session, person.id)), photo.id

    def remove(self, name: str) -> Person:
        """Remove a person with all photos and embeddings; the bytes are overwritten.

        Raises:
            PersonNotFound: nobody has that name.
            GalleryError: the bytes in the file beside the gallery cannot be overwritten.
        """
        with self._write() as session:
            person = next(queries.people(session, queries.find(session, name).id))
            photos = list(
                session.scalars(select(PhotoRow.id).where(PhotoRow.person_id == person.id))
            )
            session.execute(delete(PersonRow).where(PersonRow.id == person.id))
            before = changes.head(session)
            after = changes.bump(session, "removed", person.id)
            session.flush()
            # Before the commit: who is gone from the gallery is gone from the copy.
            self.cache.erase(
                np.array(photos, np.int64),
                before=before,
                after=after,
                happened=lambda state: changes.since(session, state) is not None,
            )
            return person

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            PersonNotFound: nobody is called ``old``.
            PersonExists: somebody else is called ``new``.
            GalleryError: ``new`` cannot be a name.
        """
        new = normalise_name(new)
        with self._write() as session:
            person = queries.find(session, old)
            other = queries.lookup(session, new)
            if other is not None and other.id != person.id:
                raise PersonExists(
                    f"there is already a person called '{other.name}'; choose another name, or "
                    "remove one of the two first"
                )
            person.name, person.name_key = new, name_key(new)
            changes.bump(session, "renamed", person.id)
            session.flush()
            return next(queries.people(session, person.id))

    # --- changing the model ----------------------------------------------------------------

    def without_embedding(self, model_id: str) -> list[int]:
        """The photos that this model has not embedded yet."""
        done = select(EmbeddingRow.photo_id).where(EmbeddingRow.model_id == model_id)
        with self._read() as session:
            return list(
                session.scalars(
                    select(PhotoRow.id).where(PhotoRow.id.not_in(done)).order_by(PhotoRow.id)
                )
            )

    def keep_embeddings(
        self, photo_ids: Sequence[int], mu: Floats, logvar: Floats, *, model_id: str
    ) -> None:
        """Keep N embeddings beside those of the model in use (photos removed meanwhile: not)."""
        now = datetime.now(UTC)
        with self._write() as session:
            there = set(session.scalars(select(PhotoRow.id).where(PhotoRow.id.in_(photo_ids))))
            for photo_id, mean, variance in zip(photo_ids, mu, logvar, strict=True):
                if photo_id in there:
                    session.execute(
                        insert(EmbeddingRow)
                        .values(
                            photo_id=photo_id,
                            model_id=model_id,
                            mu=mean,
                            logvar=variance,
                            created_at=now,
                        )
                        .on_conflict_do_nothing()
                    )

    def switch_model(self, model_id: str) -> bool:
        """Use this model and drop the others' embeddings, if it has embedded every photo.

        Returns:
            False, with nothing changed, when photos were added meanwhile.
        """
        embedded = select(EmbeddingRow.photo_id).where(EmbeddingRow.model_id == model_id)
        with self._write() as session:
            missing = session.scalar(
                select(func.count()).select_from(PhotoRow).where(PhotoRow.id.not_in(embedded))
            )
            if missing:
                return False
            session.execute(delete(EmbeddingRow).where(EmbeddingRow.model_id != model_id))
            queries.set_model(session, model_id)
            changes.bump(session, "model")
            session.flush()
            self.cache.drop()
            return True

    def require_model(self, model_id: str) -> None:
        """Check that the embeddings can be compared with this model's.

        Raises:
            ModelMismatch: they come from another one; names the command that re-embeds.
        """
        self._compare(self.model_id(), model_id)

    def _claim_model(self, session: Session, model_id: str) -> None:
        kept = queries.model_id(session)
        if kept is None:
            queries.set_model(session, model_id)
        self._compare(kept, model_id)

    def _compare(self, kept: str | None, model_id: str) -> None:
        if kept is not None and kept != model_id:
            raise ModelMismatch(
                f"the gallery '{printable(str(self.path))}' holds embeddings of the model "
                f"'{printable(kept)}', and '{model_id}' is in use: they cannot be compared; run "
                f"'facestream gallery re-embed --gallery {shlex.quote(str(self.path))}' "
                "(the photos are kept in the gallery)"
            )

    def _decoded(self, photo_id: int, data: bytes | None) -> Image:
        crop = None
        if data:
            crop = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if crop is None:
            raise GalleryCorrupt(
                f"the gallery '{printable(str(self.path))}' has no readable picture of photo "
                f"{photo_id}; restore a copy, or remove that person and enrol again"
            )
        return np.asarray(crop, np.uint8)
