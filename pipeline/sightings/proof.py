"""The proof that nothing is left of what was erased: searches, and its bytes in files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.location import DatabaseUrl
from ..core.types import Floats
from ..gallery.crops import opened_crop
from ..gallery.records import Person
from ..gallery.templates import read_templates
from ..identity.grouping import GroupingRule
from ..storage.schema import MediaRow, PhotoRow, SightingRow, SightingTemplateRow, TemplateRow
from ..storage.sealed import opened_floats
from .erasing import batches
from .receipts import UNSEEN
from .search import SightingIndex
from .store import Sightings
from .traces import PieceSearch, Traces, database_files, embedding_pieces

MOST_HITS = 100_000
"""Sightings that a search lists at most."""
# Erased sightings whose own embeddings are searched for.
_SEARCHED = 20


class Proof:
    """Remembers, in memory only, what is erased, and looks for it afterwards.

    Args:
        sightings: the database.
        model_id: of the encoder whose embeddings are searched.
        rule: of the search.
        templates: a person's own photos (mu, sigma): afterwards a search with them finds nobody
            without a name.

    Attributes:
        uids: of the sightings that are gone.
    """

    def __init__(
        self,
        sightings: Sightings,
        model_id: str,
        rule: GroupingRule,
        templates: Sequence[tuple[Floats, float]] = (),
    ) -> None:
        self._sightings = sightings
        self._model_id = model_id
        self._rule = rule
        self._templates = templates
        self._traces = Traces()
        self._searched: list[tuple[Floats, float]] = []
        self._gone: set[int] = set()
        self.uids: set[str] = set()

    def remember(self, connection: Connection, ids: Sequence[int]) -> None:
        """Keep in memory what identifies sightings that are about to be erased."""
        self._gone.update(ids)
        uids = select(SightingRow.uid).where(SightingRow.id.in_(ids))
        self.uids.update(connection.scalars(uids))
        query = select(SightingTemplateRow.__table__)
        for row in connection.execute(query.where(SightingTemplateRow.sighting_id.in_(ids))):
            mu = opened_floats(connection, row)
            self._traces.add_embedding(mu)
            if row.model_id == self._model_id and len(self._searched) < _SEARCHED:
                self._searched.append((mu, 0.0))
        media = select(MediaRow.size, MediaRow.sha256).where(MediaRow.sighting_id.in_(ids))
        for row in connection.execute(media):
            self._traces.add_picture(row.size, row.sha256)

    def remember_person(self, connection: Connection, person: Person) -> None:
        """As `remember`, of a person's photos."""
        query = select(PhotoRow.id).where(PhotoRow.person_id == person.id)
        self.remember_photos(connection, list(connection.scalars(query)))

    def remember_photos(self, connection: Connection, photo_ids: Sequence[int]) -> None:
        """As `remember`, of photos of the gallery."""
        with Session(connection) as session:
            for model in session.scalars(select(TemplateRow.model_id).distinct()).all():
                found = read_templates(session, model)
                for row in np.flatnonzero(np.isin(found.photo_ids, photo_ids)):
                    self._traces.add_embedding(found.mu[row].copy())
            for some in batches(photo_ids):
                query = select(PhotoRow.crop, PhotoRow.sha256).where(PhotoRow.id.in_(some))
                for photo in session.execute(query):
                    self._traces.add_content(opened_crop(session, photo))

    def outcome(self) -> dict[str, str]:
        """Of each check ``passed``, or what is wrong."""
        return {
            "rows": self._rows_left(),
            "search": self._search_finds(),
            "database": self._bytes_left(),
            "pictures": self._pictures_left(),
        }

    def _rows_left(self) -> str:
        with self._sightings.reading() as connection:
            query = select(sa.func.count()).select_from(SightingRow)
            left = sum(
                int(connection.execute(query.where(SightingRow.id.in_(some))).scalar_one())
                for some in batches(sorted(self._gone))
            )
        return "passed" if not left else f"{left} sightings are there again"

    def _search_finds(self) -> str:
        if not self._searched and not self._templates:
            return "passed"
        index = SightingIndex(self._sightings, self._model_id, self._rule)
        found: set[str] = set()
        for mu, sigma in self._templates:
            hits = index.search(mu, sigma=sigma, limit=MOST_HITS).hits
            found |= {hit.sighting.id for hit in hits if hit.sighting.person_id is None}
        for mu, sigma in self._searched:
            hits = index.search(mu, sigma=sigma, limit=MOST_HITS).hits
            rows = self._ids_of([hit.sighting.id for hit in hits])
            found |= {uid for uid, row in rows.items() if row in self._gone}
        return "passed" if not found else f"a search still finds {len(found)} sightings"

    def _ids_of(self, uids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        with self._sightings.reading() as connection:
            for some in batches(uids):
                query = select(SightingRow.uid, SightingRow.id).where(SightingRow.uid.in_(some))
                found |= {row.uid: row.id for row in connection.execute(query)}
        return found

    def _bytes_left(self) -> str:
        if isinstance(self._sightings.location, DatabaseUrl):
            return UNSEEN
        pieces = self._traces.pieces()
        left = self._files_with(pieces)
        if left:
            # What another program deleted without overwriting it is in free pages.
            self._sightings.scrub(compact=True)
            left = self._files_with(pieces)
        return "passed" if not left else f"bytes of it are still in {', '.join(sorted(left))}"

    def _files_with(self, pieces: set[bytes]) -> set[str]:
        if not pieces:
            return set()
        search = PieceSearch(pieces)
        found = {
            path.name: hits
            for path in database_files(self._sightings.path)
            if (hits := search.in_file(path))
        }
        if found:
            # Another sighting that stays may have the same bytes: the same video, read twice.
            kept = self._stored_pieces()
            found = {name: hits - kept for name, hits in found.items()}
        return {name for name, hits in found.items() if hits}

    def _stored_pieces(self) -> set[bytes]:
        """The pieces of all embeddings that are stored now."""
        kept: set[bytes] = set()
        with self._sightings.reading() as connection:
            for row in connection.execute(select(SightingTemplateRow.__table__)):
                kept |= embedding_pieces(opened_floats(connection, row))
            with Session(connection) as session:
                for model in session.scalars(select(TemplateRow.model_id).distinct()).all():
                    for mu in read_templates(session, model).mu:
                        kept |= embedding_pieces(mu)
        return kept

    def _pictures_left(self) -> str:
        media = self._sightings.media
        found = self._traces.pictures_in(media.files())
        with self._sightings.reading() as connection:
            paths = [one.relative_to(media.path).as_posix() for one in found]
            stored = select(MediaRow.path).where(MediaRow.path.in_(paths))
            left = set(paths) - set(connection.scalars(stored))
        return "passed" if not left else f"still there: {', '.join(sorted(left))}"
