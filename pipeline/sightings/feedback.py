"""What humans confirmed and rejected, as pairs by which thresholds can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from facestream.engines.cards import load_card
from numpy.typing import NDArray
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.config import Settings
from ..core.types import Floats
from ..gallery.calibrated import read_calibration
from ..gallery.changes import read_snapshot
from ..identity.search import open_rules
from ..recognition.cohort import Cohort
from ..recognition.encoder import DEFAULT_MODEL
from ..recognition.uncertainty import normalise
from ..storage.schema import PhotoNoteRow, RejectionRow, SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means
from .store import Sightings


@dataclass(frozen=True, slots=True)
class Feedback:
    """A sighting of which a human said whether it is somebody.

    Attributes:
        sighting: its id.
        person_id: whom it was said of.
        similarity: to the most similar photo of the person that was not made of this sighting,
            −1..1, as a search gives it now.
        sigma: of its surest embedding.
        right: True where it is the person.
    """

    sighting: str
    person_id: int
    similarity: float
    sigma: float
    right: bool


def feedback(sightings: Sightings, settings: Settings | None = None) -> list[Feedback]:
    """All sightings that humans gave a name, or took one from; what was undone does not count.

    Sightings without an embedding are left out, and people without photos.

    Args:
        settings: say how similarities are normalised.

    Raises:
        GalleryError: the database cannot be read.
    """
    card = load_card(DEFAULT_MODEL)
    rules = (settings or Settings()).recognition
    found: list[Feedback] = []
    with sightings.reading() as connection:
        _, cohort = open_rules(card, rules, read_calibration(connection))
        with Session(connection) as session:
            snapshot = read_snapshot(session)
        if snapshot.model_id != card.id:
            return []
        templates = snapshot.templates
        said = _said(connection, card.id)
        learned = select(PhotoNoteRow.photo_id, PhotoNoteRow.sighting)
        made = {
            row.sighting: row.photo_id
            for row in connection.execute(learned.where(PhotoNoteRow.sighting.is_not(None)))
        }
        rows = [row for row, _ in said]
        faces = normalise(opened_means(connection, rows)) if rows else np.zeros((0, 1), np.float32)
    for person in sorted({row.person_id for row, _ in said}):
        rows = templates.person_ids == person
        unit, photos = normalise(templates.mu[rows]), templates.photo_ids[rows]
        chosen = [number for number, one in enumerate(said) if one[0].person_id == person]
        mine = [said[number] for number in chosen]
        if not len(unit):
            continue
        scores = _similarities(unit, faces[chosen], cohort)
        for (row, right), own in zip(mine, scores, strict=True):
            usable: NDArray[np.bool_] = photos != made.get(row.uid, -1)
            if usable.any():
                best = float(own[usable].max())
                found.append(Feedback(row.uid, person, best, float(row.clearest), right))
    return found


def _said(connection: Connection, model_id: str) -> list[tuple[Any, bool]]:
    columns = (SightingRow.uid, SightingRow.clearest, SightingTemplateRow.__table__)
    usable = (SightingTemplateRow.model_id == model_id, SightingRow.clearest.is_not(None))
    right = (
        select(SightingRow.person_id, *columns)
        .join(SightingTemplateRow, SightingTemplateRow.sighting_id == SightingRow.id)
        .where(SightingRow.fixed.is_(True), SightingRow.person_id.is_not(None), *usable)
        .order_by(SightingRow.id)
    )
    wrong = (
        select(RejectionRow.person_id, *columns)
        .join(SightingRow, SightingRow.id == RejectionRow.sighting_id)
        .join(SightingTemplateRow, SightingTemplateRow.sighting_id == SightingRow.id)
        .where(*usable)
        .order_by(SightingRow.id)
    )
    return [
        *((row, True) for row in connection.execute(right)),
        *((row, False) for row in connection.execute(wrong)),
    ]


def _similarities(unit: Floats, probes: Floats, cohort: Cohort | None) -> Floats:
    """Of each sighting to each photo."""
    cosines = np.asarray(probes @ unit.T, np.float32)
    if cohort is None:
        return cosines
    return cohort.normalised(cosines, cohort.means(probes)[:, None], cohort.means(unit)[None])
