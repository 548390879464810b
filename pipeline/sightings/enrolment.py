"""Pictures of sightings as photos of a person, by the rules of `gallery.learn`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..core.errors import ModelMismatch
from ..core.types import Floats, Image
from ..gallery.changes import model_in_use
from ..gallery.crops import SIDE
from ..gallery.embeddings import MOST_LOGVAR, usable
from ..gallery.learn import LEARNED, LearnableFace, learn_within
from ..gallery.records import Embedded, FaceOrigin, PhotoResult
from ..gallery.rows import lookup
from ..recognition.uncertainty import normalise
from ..storage.database import chunks
from ..storage.history import RecordedChange, changing
from ..storage.names import normalise_name, printable
from ..storage.schema import MediaRow, RejectionRow, SightingRow, SightingTemplateRow
from ..storage.sealed import opened_floats
from .reidentify import Decider
from .store import Sightings
from .transactions import deciding


@dataclass(frozen=True, slots=True, eq=False)
class LearnedFaces:
    """What became of the faces of sightings.

    Attributes:
        results: one for each sighting, in order.
        unit: the embeddings of the new photos, A×D of length 1.
    """

    results: list[PhotoResult]
    unit: Floats


def learn_sightings(
    sightings: Sightings, settings: Settings, name: str, ids: Sequence[str]
) -> list[PhotoResult]:
    """Make photos of sightings' faces that are surely of this person and show something new.

    It is one operation, which can be undone.

    Args:
        name: of the person, who may be new.
        ids: of the sightings, or their beginnings.

    Raises:
        UsageError: there is no such sighting.
        GalleryError: the name cannot be used.
        ModelMismatch: the gallery's embeddings come from another model.
    """
    name = normalise_name(name)
    uids = list(dict.fromkeys(sightings.get(uid).id for uid in ids))
    with deciding(sightings) as connection:
        query = select(SightingRow.uid, SightingRow.id).where(SightingRow.uid.in_(uids))
        rows = {row.uid: row.id for row in connection.execute(query)}
        decider = Decider(connection, settings)
        with changing(connection, "photos_learned", LEARNED) as change:
            there = [rows[uid] for uid in uids if uid in rows]
            results = enrol_sightings(change, sightings, decider, name, there).results
            if not change.steps:
                change.forget()
    return results


def enrol_sightings(
    change: RecordedChange, sightings: Sightings, decider: Decider, name: str, ids: Sequence[int]
) -> LearnedFaces:
    """As `learn_sightings`, within a transaction; the sightings are given by their rows' ids.

    Raises:
        ModelMismatch: the gallery's embeddings come from another model.
    """
    connection = change.connection
    with Session(connection) as session:
        in_use = model_in_use(session)
        if in_use not in (None, decider.model_id):
            raise ModelMismatch(
                f"the gallery holds embeddings of the model '{printable(in_use or '')}', and "
                f"'{decider.model_id}' is in use; run 'facestream gallery re-embed'"
            )
        results: dict[int, PhotoResult] = {}
        faces: dict[int, LearnableFace] = {}
        rejected = _rejected(session, name, ids)
        for row in _rows(connection, ids, decider.model_id):
            face = _face(connection, sightings, row, decider.model_id, row.id in rejected)
            if isinstance(face, LearnableFace):
                faces[row.id] = face
            else:
                results[row.id] = face
        unit = np.zeros((0, 1), np.float32)
        if faces:
            offered = list(faces.values())
            mu = np.stack([one.embedded.mu for one in offered])
            done = learn_within(change, session, name, offered, decider.surroundings(mu))
            results |= dict(zip(faces, done, strict=True))
            unit = normalise(mu)[[one.accepted for one in done]]
        session.flush()
    return LearnedFaces([results[one] for one in ids if one in results], unit)


def _rejected(session: Session, name: str, ids: Sequence[int]) -> set[int]:
    """Those of the sightings of which a human said that they are not the person."""
    person = lookup(session, name)
    if person is None:
        return set()
    query = select(RejectionRow.sighting_id).where(RejectionRow.person_id == person.id)
    found = (
        session.scalars(query.where(RejectionRow.sighting_id.in_(part))) for part in chunks(ids)
    )
    return {one for part in found for one in part}


def _rows(connection: Connection, ids: Sequence[int], model_id: str) -> list[Any]:
    template = SightingTemplateRow
    query = (
        select(
            SightingRow.id, SightingRow.uid, SightingRow.clearest, SightingRow.source,
            SightingRow.seen_at, template.sighting_id, template.model_id,
            template.mu, template.logvar, MediaRow.path,
        )
        .outerjoin(
            template, (template.sighting_id == SightingRow.id) & (template.model_id == model_id)
        )
        .outerjoin(MediaRow, (MediaRow.sighting_id == SightingRow.id) & (MediaRow.kind == "face"))
        .order_by(SightingRow.id)
    )  # fmt: skip
    found: list[Any] = []
    for part in chunks(ids):
        found += connection.execute(query.where(SightingRow.id.in_(part))).all()
    return found


def _face(
    connection: Connection, sightings: Sightings, row: Any, model_id: str, rejected: bool
) -> LearnableFace | PhotoResult:
    """The face of a sighting, or why it cannot be learned."""
    path = Path(f"sighting-{row.uid}")
    if rejected:
        return PhotoResult(path, False, "not_similar", "somebody said that it is not the person")
    if row.clearest is None or row.mu is None:
        detail = "the sighting has no embedding of the model in use"
        return PhotoResult(path, False, "uncertain", detail)
    mu = opened_floats(connection, row)
    picture = _picture(connection, sightings, row)
    if picture is None or not usable(mu[None])[0]:
        detail = "the sighting has no picture of the face that can be read"
        return PhotoResult(path, False, "unreadable", detail)
    crop, data = picture
    logvar = opened_floats(connection, row, "logvar").clip(-MOST_LOGVAR, MOST_LOGVAR)
    return LearnableFace.of_crop(
        crop,
        hashlib.sha256(data).hexdigest(),
        FaceOrigin(row.uid, row.source, row.seen_at),
        Embedded(model_id, mu, logvar),
        float(row.clearest),
    )


def _picture(connection: Connection, sightings: Sightings, row: Any) -> tuple[Image, bytes] | None:
    """The aligned face and its file; None where that is gone or damaged."""
    if row.path is None:
        return None
    try:
        data = sightings.media.read(connection, row.path, row.uid, "face")
    except OSError:
        return None
    crop = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if crop is None or crop.shape != (SIDE, SIDE, 3):
        return None
    return np.asarray(crop, np.uint8), data
