"""Forgets people and sightings for good, and proves that nothing is left of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.errors import OutputError, PersonNotFound, UsageError
from ..core.types import Floats
from ..gallery.records import Person
from ..gallery.rows import find, read_people
from ..gallery.templates import read_templates
from ..identity.grouping import GroupingRule
from ..recognition.uncertainty import sigma as sigma_of
from ..storage.schema import MediaRow, SightingRow
from .erasing import (
    batches,
    drop_notes,
    erase_person,
    erase_photos,
    erase_pictures,
    erase_sightings,
    learned_from,
    noted_pictures,
)
from .proof import MOST_HITS, Proof
from .receipts import ErasureKind, Receipt, is_subject, read_receipts, store_receipt, subject_of
from .search import SightingIndex
from .store import Sightings


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """What is to be forgotten; exactly one field is given.

    Attributes:
        person: a name: the person, all sightings with that name, and those without a name that
            resemble the person's photos.
        sightings: ids, or their beginnings.
        before: all sightings that began before.
        unknown_before: all sightings without a name that began before.
    """

    person: str | None = None
    sightings: tuple[str, ...] = ()
    before: datetime | None = None
    unknown_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What a request means now.

    Attributes:
        person: who is forgotten; None where only sightings are.
        sightings: ids of rows.
        resembling: how many of them have no name and were found by the person's photos.
        others: sightings with another name that resemble the person's photos: they stay.
        pictures: how many pictures the sightings have.
        learned: how many photos of people were learned from sightings that are named one by one;
            they go, too. Where sightings go by age, such photos stay.
        templates: of the person's photos (mu, sigma), of the encoder that searches.
        unfinished: the receipt of the same request, that was interrupted before its proof.
    """

    kind: ErasureKind
    person: Person | None = None
    sightings: tuple[int, ...] = ()
    resembling: int = 0
    others: int = 0
    pictures: int = 0
    learned: int = 0
    templates: tuple[tuple[Floats, float], ...] = ()
    unfinished: Receipt | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be done."""
        return self.person is None and not self.sightings and self.unfinished is None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is gone, for those who erase it elsewhere; it is not stored.

    Attributes:
        sightings: their ids.
        name: of the person.
        person_id: the person's number until now.
    """

    sightings: frozenset[str]
    name: str | None = None
    person_id: int | None = None


OutputErasure = Callable[[Forgotten], Mapping[str, Mapping[str, int]]]
"""Erases it in outputs; returns what it did, by path."""


def _no_outputs(_gone: Forgotten) -> Mapping[str, Mapping[str, int]]:
    return {}


class Forgetting:
    """Forgets people and sightings of a database.

    Args:
        sightings: the database.
        model_id: of the encoder; embeddings of others are erased, and not searched.
        rule: when two faces are one person, see `open_grouping`.
    """

    def __init__(self, sightings: Sightings, model_id: str, rule: GroupingRule) -> None:
        self._sightings = sightings
        self._model_id = model_id
        self._rule = rule

    def plan(self, request: ForgetRequest) -> ForgetPlan:
        """What would be erased; nothing is changed.

        Raises:
            PersonNotFound: nobody has that name.
            UsageError: no sighting has one of the ids.
        """
        if request.person is not None:
            plan = self._plan_person(request.person)
        elif request.sightings:
            uids = [self._sightings.get(uid).id for uid in request.sightings]
            plan = self._plan("sightings", SightingRow.uid.in_(uids))
        elif request.before is not None:
            plan = self._plan("before", SightingRow.seen_at < request.before, *_ENDED)
        elif request.unknown_before is not None:
            unnamed = SightingRow.person_id.is_(None)
            old = SightingRow.seen_at < request.unknown_before
            plan = self._plan("unknown_older_than", unnamed, old, *_ENDED)
        else:
            raise UsageError("say what is to be forgotten: a person, a sighting or a time")
        learned = 0
        if plan.kind == "sightings":  # a person's photos all go
            with self._sightings.reading() as connection:
                learned = len(learned_from(connection, plan.sightings))
        return replace(plan, pictures=self._pictures(plan.sightings), learned=learned)

    def carry_out(
        self,
        plan: ForgetPlan,
        *,
        named: bool = False,
        outputs: OutputErasure = _no_outputs,
        by: str | None = None,
    ) -> Receipt:
        """Erase what was planned, in short transactions, and prove it.

        When it is interrupted, the same request finishes it.

        Args:
            plan: of `plan`.
            named: whether the receipt has the person's name.
            outputs: is called at the end; the receipt has what it returns.
            by: who asked for it; None: the user of the operating system.

        Returns:
            The receipt, which is in the database too. ``proved`` says whether all is gone.

        Raises:
            GalleryError: the database cannot be written; what is erased by then is gone.
            OutputError: a picture cannot be erased; the same request tries again.
        """
        finish(self._sightings)
        proof = Proof(self._sightings, self._model_id, self._rule, plan.templates)
        receipt = plan.unfinished or Receipt(plan.kind)
        if by is not None:
            receipt = replace(receipt, by=by)
        rows: Counter[str] = Counter(receipt.rows)
        files = receipt.files
        wanted: Sequence[int] = plan.sightings
        while wanted:
            for batch in batches(wanted):
                with self._sightings.writing() as connection:
                    proof.remember(connection, batch)
                    if plan.kind in _WITH_LEARNED:
                        photos = learned_from(connection, batch)
                        if photos:
                            proof.remember_photos(connection, photos)
                        rows["photos"] += erase_photos(connection, photos)
                    rows += erase_sightings(connection, batch)
                files += finish(self._sightings)
            # Among fewer sightings a search lists what is less similar.
            wanted = self._more(plan)
        with self._sightings.writing() as connection:
            if plan.person is not None:
                proof.remember_person(connection, plan.person)
                rows += erase_person(connection, plan.person.id)
                receipt = replace(
                    receipt,
                    subject=subject_of(plan.person.name),
                    name=plan.person.name if named else None,
                )
            receipt = replace(receipt, rows=dict(+rows), files=files)
            store_receipt(connection, receipt)
        self._sightings.scrub()
        outcome = _REPEATED if plan.unfinished is not None else proof.outcome()
        if plan.person is not None and plan.person.photos and not plan.templates:
            outcome = outcome | _UNSEARCHABLE
        name = None if plan.person is None else plan.person.name
        number = None if plan.person is None else plan.person.id
        done = outputs(Forgotten(frozenset(proof.uids), name, number))
        receipt = replace(receipt, proof=outcome, outputs=done)
        with self._sightings.writing() as connection:
            store_receipt(connection, receipt)
        self._sightings.scrub()
        return receipt

    # --- planning --------------------------------------------------------------------------

    def _plan(self, kind: ErasureKind, *conditions: sa.ColumnElement[bool]) -> ForgetPlan:
        with self._sightings.reading() as connection:
            ids = connection.scalars(select(SightingRow.id).where(*conditions)).all()
        return ForgetPlan(kind, sightings=tuple(ids))

    def _plan_person(self, name: str) -> ForgetPlan:
        with self._sightings.reading() as connection, Session(connection) as session:
            try:
                person = next(read_people(session, find(session, name).id))
            except PersonNotFound:
                unfinished = _unfinished(connection, name)
                if unfinished is None:
                    raise
                return ForgetPlan("person", unfinished=unfinished)
            templates = self._templates(session, person)
            of_person = SightingRow.person_id == person.id
            named = list(connection.scalars(select(SightingRow.id).where(of_person)))
        unnamed, others = self._resembling(templates, set(named))
        return ForgetPlan(
            "person",
            person,
            (*named, *sorted(unnamed)),
            resembling=len(unnamed),
            others=others,
            templates=templates,
        )

    def _more(self, plan: ForgetPlan) -> list[int]:
        """What a run has stored of the person since, and what a search finds by now."""
        if plan.person is None:
            return []
        of_person = SightingRow.person_id == plan.person.id
        with self._sightings.reading() as connection:
            named = set(connection.scalars(select(SightingRow.id).where(of_person)))
        return sorted(named | self._resembling(plan.templates, named)[0])

    def _templates(self, session: Session, person: Person) -> tuple[tuple[Floats, float], ...]:
        found = read_templates(session, self._model_id, columns="both")
        rows = np.flatnonzero(found.person_ids == person.id)
        sigmas = sigma_of(found.logvar[rows]) if len(rows) else ()
        return tuple(
            (found.mu[row].copy(), float(sigma)) for row, sigma in zip(rows, sigmas, strict=True)
        )

    def _resembling(
        self, templates: Sequence[tuple[Floats, float]], named: set[int]
    ) -> tuple[set[int], int]:
        """Sightings without a name that resemble these faces, and how many with another name."""
        if not templates:
            return set(), 0
        index = SightingIndex(self._sightings, self._model_id, self._rule)
        hits: dict[str, int | None] = {}
        for mu, sigma in templates:
            for hit in index.search(mu, sigma=sigma, limit=MOST_HITS).hits:
                hits[hit.sighting.id] = hit.sighting.person_id
        unnamed: set[int] = set()
        with self._sightings.reading() as connection:
            wanted = [uid for uid, person in hits.items() if person is None]
            for some in batches(wanted):
                query = select(SightingRow.id).where(SightingRow.uid.in_(some))
                unnamed |= set(connection.scalars(query))
            owned = [uid for uid, person in hits.items() if person is not None]
            own: set[int] = set()
            for some in batches(owned):
                own |= set(
                    connection.scalars(select(SightingRow.id).where(SightingRow.uid.in_(some)))
                )
        return unnamed - named, len(own - named)

    def _pictures(self, ids: Sequence[int]) -> int:
        query = select(sa.func.count()).select_from(MediaRow)
        with self._sightings.reading() as connection:
            return sum(
                int(connection.execute(query.where(MediaRow.sighting_id.in_(some))).scalar_one())
                for some in batches(ids)
            )


# What was learned from these sightings is forgotten with them.
_WITH_LEARNED = ("person", "sightings")
# Of a face that is still there nothing is erased by its age.
_ENDED = (SightingRow.state != "open",)
_UNSEARCHABLE = {
    "search": "not made: the person's photos had no embedding of the model in use, so sightings "
    "without a name may show the person"
}
# Of a command that goes on where an interrupted one ended.
_REPEATED = {
    "search": "not made: an earlier command was interrupted, and nothing is left to search"
}


def finish(sightings: Sightings) -> int:
    """Erase the pictures whose rows are gone, also those that a crash left.

    Returns:
        How many files are gone.

    Raises:
        OutputError: one cannot be erased.
    """
    count = 0
    while True:
        with sightings.reading() as connection:
            paths = noted_pictures(connection)
            if not paths:
                return count
            try:
                count += erase_pictures(connection, sightings.media, paths)
            except OSError as error:
                raise OutputError(
                    f"cannot erase a picture in {sightings.media.path}: {error.filename}: "
                    f"{error.strerror}; the same command goes on when that is mended"
                ) from error
        with sightings.writing() as connection:
            drop_notes(connection, paths)


def _unfinished(connection: Connection, name: str) -> Receipt | None:
    """The receipt of this person that has no proof yet."""
    for receipt in reversed(read_receipts(connection)):
        if receipt.proof is None and is_subject(receipt.subject, name):
            return receipt
    return None


def ago(seconds: float) -> datetime:
    """The time so many seconds ago."""
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() - seconds, UTC)
