"""Faces of sightings become photos of a person, under guard.

A face that is learned decides on later ones, so one of somebody else would bring more of them
(a poisoned gallery). Therefore a face is taken only when it is clear, resembles photos that
somebody added (not learned ones) far more than recognition asks for, and is far from everybody
else; and when it shows something new. ``python -m benchmarks gallery-check`` measures how often a
look-alike is taken. Whoever learns faces (`Gallery.learn`, names of clusters, corrections) does it
by `learn_within`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from ..core.types import Floats, Image, Matches
from ..identity.decision import Thresholds
from ..recognition.align import TEMPLATE_112
from ..recognition.cohort import Cohort
from ..recognition.uncertainty import sigma
from ..storage.history import RecordedChange
from ..storage.names import name_key, normalise_name, printable
from ..storage.schema import MetaRow, PhotoRow
from .changes import log_change, model_in_use
from .edits import insert_photo
from .faces import PhotoContent
from .groups import groups_of
from .guard import NEAREST, PhotoGuard, nearest_others, similarities_of
from .index import normalised
from .notes import read_notes
from .records import Embedded, Face, FaceOrigin, FaceReader, PhotoNotes, PhotoReason, PhotoResult
from .rows import find_or_make, lookup, owner_of
from .store import Store
from .templates import read_some


@dataclass(frozen=True, slots=True)
class LearningRules:
    """Which faces are taken.

    Attributes:
        most: learned photos that a person may have.
        max_sigma: uncertainty up to which a face is clear.
        false_alarms: the share, 0..1, of strangers who may be similar enough to anybody, in a
            gallery of ``STRICT_AMONG`` photos or more.
        lead: least lead over the next person, in similarity.
        redundant: from this similarity to a photo of the person on, a face shows nothing new.
    """

    most: int = 5
    max_sigma: float = 0.8
    false_alarms: float = 0.001
    lead: float = 0.1
    redundant: float = 0.9


# In a small gallery recognition asks for less; a look-alike is no rarer there.
STRICT_AMONG = 10_000
DEFAULT_LEARNING = LearningRules()
LEARNED = "learned faces of sightings"
"""What the history says; the names are in it as ids."""


@dataclass(frozen=True, slots=True, eq=False)
class LearnableFace:
    """A face that may be learned.

    Attributes:
        face: with the sighting it comes from in its notes.
        embedded: by the model in use.
        sigma: its uncertainty.
    """

    face: Face
    embedded: Embedded
    sigma: float

    @classmethod
    def of_crop(
        cls, crop: Image, sha256: str, origin: FaceOrigin, embedded: Embedded, sigma: float
    ) -> LearnableFace:
        """Of an aligned face (112×112×3 BGR uint8), whose picture has this checksum."""
        side = crop.shape[0]
        face = Face(
            path=f"sighting-{origin.sighting}",
            sha256=sha256,
            width=side,
            height=side,
            box=np.array([0, 0, side, side], np.float32),
            landmarks=np.asarray(TEMPLATE_112, np.float32),
            score=1.0,
            crop=crop,
            notes=PhotoNotes(taken_at=origin.at, origin=origin),
        )
        return cls(face, embedded, sigma)

    def refused(self, reason: PhotoReason, detail: str) -> PhotoResult:
        """The result of a face that is not taken."""
        return PhotoResult(Path(self.face.path), False, reason, detail)


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Whom N faces are compared with.

    Attributes:
        thresholds, cohort: by which they are.
        templates: how many photos there are.
        found: the people most similar to each face (N×k).
    """

    thresholds: Thresholds
    cohort: Cohort | None
    templates: int
    found: Matches


def learn_within(
    change: RecordedChange,
    session: Session,
    name: str,
    faces: Sequence[LearnableFace],
    around: Surroundings,
    rules: LearningRules = DEFAULT_LEARNING,
) -> list[PhotoResult]:
    """Within a transaction, add those faces to a person that are surely of this person and show
    something new; an undo of the change takes them out again.

    A person without photos is given the largest group of faces that resemble each other; the
    others are refused. The clearest faces are taken first.

    Args:
        session: on the connection of ``change``.
        name: of the person, who is made with the first face where there is none.
        faces: N.
        around: of the same N faces.
        rules: which faces are taken.

    Returns:
        N results: the reasons of those that are refused are ``uncertain``, ``resembles``,
        ``not_similar``, ``redundant``, ``enough``, ``duplicate`` and ``other_person``.
    """
    if not faces:
        return []
    own = _Own.read(session, name)
    new = not len(own.enrolled)
    unit = normalised(np.stack([one.embedded.mu for one in faces]))[0]
    results = _unlike(name, faces, unit, own, around, rules)
    if new:
        _refuse_apart(results, faces, unit, around, rules)
    enrolled, learned = own.enrolled, own.learned
    for row in sorted(range(len(faces)), key=lambda row: faces[row].sigma):
        one = faces[row]
        nearest = similarities_of(unit[row : row + 1], enrolled, around.cohort).max(initial=-1.0)
        if results[row] is None and nearest >= rules.redundant:
            detail = f"the person has such a photo (similarity {nearest:.2f})"
            results[row] = one.refused("redundant", detail)
        if results[row] is None and learned >= rules.most:
            detail = f"the person has {learned} learned photos already"
            results[row] = one.refused("enough", detail)
        done = results[row] or _stored(change, session, name, one)
        results[row] = done
        if done.accepted:
            learned += 1
            row_of = unit[row : row + 1]
            enrolled = row_of if not len(enrolled) else np.concatenate([enrolled, row_of])
    return [one for one in results if one is not None]


def learn_faces(
    store: Store,
    reader: FaceReader,
    guard: PhotoGuard,
    name: str,
    crops: Image,
    origins: Sequence[FaceOrigin],
    *,
    sigmas: Sequence[float | None] | None = None,
    rules: LearningRules = DEFAULT_LEARNING,
) -> list[PhotoResult]:
    """`learn_within` for aligned faces, in a transaction of its own.

    Args:
        store: the gallery.
        reader: embeds the faces.
        guard: of the same gallery.
        name: of the person, who may be new.
        crops: N×112×112×3 BGR uint8, aligned.
        origins: N, the sightings they come from.
        sigmas: N, of the sightings' surest embeddings; the worse of it and the crop's counts.
        rules: which faces are taken.

    Raises:
        GalleryError: the name cannot be used, or the gallery cannot be written.
        ModelMismatch: the gallery's embeddings come from another model.
    """
    name = normalise_name(name)
    store.require_model(reader.model_id)
    if not len(crops):
        return []
    mu, logvar = reader.embed(crops)
    spread = np.maximum(sigma(logvar), [one or 0.0 for one in sigmas or [0.0] * len(mu)])
    faces = [
        LearnableFace.of_crop(
            crop,
            PhotoContent.load(crop, name=Path(f"sighting-{origin.sighting}")).sha256,
            origin,
            Embedded(reader.model_id, mu[row], logvar[row]),
            float(spread[row]),
        )
        for row, (crop, origin) in enumerate(zip(crops, origins, strict=True))
    ]
    found = guard.gallery.search(normalised(mu)[0], NEAREST, cohort=guard.cohort)
    around = Surroundings(guard.thresholds, guard.cohort, guard.gallery.templates(), found)
    with store.changing("photos_learned", LEARNED) as (session, change):
        results = learn_within(change, session, name, faces, around, rules)
        if not change.steps:
            change.forget()
    return results


def learned_photos(store: Store, name: str) -> list[int]:
    """The photos of a person that were learned from sightings."""
    return [photo.id for photo in store.photos(name) if photo.notes.origin is not None]


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """The photos of the person.

    Attributes:
        enrolled: A×D of length 1, all that are not set aside.
        vouching: those of them that somebody added; all where the person was named only.
        learned: how many were learned from sightings.
    """

    enrolled: Floats
    vouching: Floats
    learned: int

    @classmethod
    def read(cls, session: Session, name: str) -> _Own:
        person = lookup(session, name)
        ids: list[int] = []
        if person is not None:
            query = session.query(PhotoRow.id).where(PhotoRow.person_id == person.id)
            ids = [row.id for row in query]
        notes = read_notes(session, ids)
        learned = {photo for photo, note in notes.items() if note.origin is not None}
        aside = {photo for photo, note in notes.items() if note.aside_at is not None}
        there = np.array([photo for photo in ids if photo not in aside], np.int64)
        found = read_some(session, model_in_use(session), there)
        enrolled = normalised(found.mu)[0]
        added = ~np.isin(found.photo_ids, sorted(learned))
        return cls(enrolled, enrolled[added] if added.any() else enrolled, len(learned))


def _unlike(
    name: str,
    faces: Sequence[LearnableFace],
    unit: Floats,
    own: _Own,
    around: Surroundings,
    rules: LearningRules,
) -> list[PhotoResult | None]:
    """Refuse faces that are unclear, not surely the person, or near to somebody else."""
    new = not len(own.enrolled)
    others = nearest_others(around.found, name)
    mine = similarities_of(unit, own.vouching, around.cohort).max(axis=1, initial=-np.inf)
    usual = around.thresholds.among(max(1, around.templates)).similarity
    strict = replace(around.thresholds, false_alarms=rules.false_alarms)
    least = strict.among(max(STRICT_AMONG, around.templates)).similarity
    if strict.false_matches is None:
        least = usual + rules.lead
    key = name_key(name)
    results: list[PhotoResult | None] = []
    for row, (one, similarity, other, who) in enumerate(zip(faces, mine, *others, strict=True)):
        near = other >= usual if new else other > similarity - rules.lead
        done = None
        if one.sigma > rules.max_sigma:
            detail = f"it shows the face too poorly (sigma {one.sigma:.2f})"
            done = one.refused("uncertain", detail)
        elif near and who is not None and other > 0:
            done = one.refused("resembles", f"it resembles '{printable(who)}' ({other:.2f})")
        elif not new and similarity < least:
            detail = f"it is not surely the person: similarity {similarity:.2f}, "
            done = one.refused("not_similar", detail + f"needed {least:.2f}")
        elif not new and key not in {name_key(n) for n in around.found.names[row] if n is not None}:
            # What a search leaves out: it resembles a face that is not the person more.
            done = one.refused("not_similar", "a search does not find the person by it")
        results.append(done)
    return results


def _refuse_apart(
    results: list[PhotoResult | None],
    faces: Sequence[LearnableFace],
    unit: Floats,
    around: Surroundings,
    rules: LearningRules,
) -> None:
    """Refuse the faces outside the largest group of those that resemble each other."""
    rest = [row for row, done in enumerate(results) if done is None]
    if len(rest) < 2:
        return
    strict = replace(around.thresholds, false_alarms=rules.false_alarms).among(len(rest))
    alike = similarities_of(unit[rest], unit[rest], around.cohort)
    near: NDArray[np.bool_] = alike >= strict.similarity
    for row, group in zip(rest, groups_of(near | near.T), strict=True):
        if group:
            results[row] = faces[row].refused("not_similar", "it does not resemble the other faces")


def _stored(change: RecordedChange, session: Session, name: str, one: LearnableFace) -> PhotoResult:
    path = Path(one.face.path)
    owner = owner_of(session, one.face.sha256)
    if owner is not None:
        return PhotoResult.already_enrolled(path, name, owner=owner)
    if model_in_use(session) is None:
        session.merge(MetaRow(key="model_id", value=one.embedded.model_id))
    person, new = find_or_make(session, name)
    if new:
        change.steps.append({"undo": "new_person", "id": person.id})
    photo = insert_photo(session, person.id, one.face, one.embedded)
    change.steps.append({"undo": "new_photo", "id": photo, "person": person.id})
    log_change(session, "added", person.id)
    return PhotoResult(path, True, sigma=one.sigma, photo_id=photo)
