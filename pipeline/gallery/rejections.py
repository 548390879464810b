"""Who a face is not: sightings that a human took a name from, and faces that look like them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from ..core.types import Floats, Matches
from ..recognition.cohort import Cohort
from ..recognition.uncertainty import normalise
from ..storage.schema import RejectionRow, SightingTemplateRow
from ..storage.sealed import opened_means


@dataclass(frozen=True, slots=True, eq=False)
class Rejections:
    """Faces that are not of certain people, as they stood at one moment.

    Attributes:
        people: A, whom the face is not.
        unit: A×D, the face.
    """

    people: NDArray[np.int64]
    unit: Floats

    def apply(self, matches: Matches, mu: Floats, cohort: Cohort | None) -> Matches:
        """The matches without people whom a face is not.

        A face is not a person when it resembles one of that person's rejected faces more than
        the person.

        Args:
            matches: M rows, of the faces ``mu`` (M×D).
            cohort: that the similarities are normalised by.
        """
        ids = matches.person_ids
        concerned = np.isin(ids, self.people)
        if not concerned.any():
            return matches
        similarities, people = matches.similarities.copy(), ids.copy()
        names = [list(row) for row in matches.names]
        unit = normalise(mu)
        for row, column in zip(*np.nonzero(concerned), strict=True):
            anchors = self.unit[self.people == ids[row, column]]
            scores = anchors @ unit[row]
            if cohort is not None:
                probe = cohort.means(unit[row : row + 1])
                scores = cohort.normalised(scores, probe, cohort.means(anchors))
            if scores.max() > similarities[row, column]:
                similarities[row, column], people[row, column] = -np.inf, -1
                names[row][column] = None
        order = np.argsort(-similarities, axis=1, kind="stable")
        return Matches(
            np.take_along_axis(similarities, order, axis=1),
            np.take_along_axis(people, order, axis=1),
            tuple(
                tuple(row[i] for i in places)
                for row, places in zip(names, order.tolist(), strict=True)
            ),
        )


def read_rejections(connection: Connection, model_id: str) -> Rejections | None:
    """Those that this model's embeddings can be compared with; None without any."""
    query = (
        select(RejectionRow.person_id, SightingTemplateRow.__table__)
        .join(SightingTemplateRow, SightingTemplateRow.sighting_id == RejectionRow.sighting_id)
        .where(SightingTemplateRow.model_id == model_id)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    people = np.array([row.person_id for row in rows], np.int64)
    return Rejections(people, normalise(opened_means(connection, rows)))
