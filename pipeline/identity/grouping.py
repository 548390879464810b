"""Which faces are the same person where nobody is enrolled: templates grouped by similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from facestream.engines.cards import ModelCard
from numpy.typing import NDArray

from ..core.config import RecognitionSettings
from ..core.events import Left
from ..core.types import Floats
from ..recognition.cohort import Cohort
from ..recognition.uncertainty import normalise
from .calibrated import CalibratedRules
from .decision import Thresholds
from .search import open_rules

# Poor pictures of different people resemble each other. By the smaller sigma of the two, one pair
# of strangers in a thousand (600 people of LFW, half of them degraded) exceeds a similarity of
# 0.38 at a sigma of 0.73, 0.45 at 0.95 and 0.55 at 1.15: this much a unit of sigma.
INFLATION = 0.4
ALONE = -1
"""Group of a face that shows too little to be compared."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupingRule:
    """When faces are the same person.

    Attributes:
        thresholds: their ``similarity``, for as many comparisons as there are faces, and
            ``max_sigma``.
        cohort: normalises the similarities; None: plain cosines.
        usual_sigma: of a clear picture: above it two faces must be more similar.
    """

    thresholds: Thresholds
    cohort: Cohort | None = None
    usual_sigma: float = float("inf")

    def inflation(self, sigmas: Floats) -> Floats:
        """How much more similar two faces must be, of which the surer one has this sigma."""
        return np.asarray(INFLATION * np.maximum(sigmas - self.usual_sigma, 0), np.float32)


def open_grouping(
    card: ModelCard, recognition: RecognitionSettings, calibrated: CalibratedRules | None
) -> GroupingRule:
    """The rule of the settings, for the encoder of this card; see `open_rules`."""
    percentiles = card.metrics.get("sigma_percentiles_5_50_95")
    return GroupingRule(
        *open_rules(card, recognition, calibrated),
        usual_sigma=float("inf") if percentiles is None else float(percentiles[1]),
    )


def group_faces(
    templates: Floats, sigmas: Floats, rule: GroupingRule, *, apart: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Group faces into people; the same input gives the same groups.

    The two most similar groups are joined until none are similar enough (average linkage). A
    pair counts by the certainty of its faces: 1/σ² each.

    Args:
        templates: N×D, of length 1, e.g. the fused embeddings of tracks.
        sigmas: N, their uncertainties, above 0. Above ``max_sigma`` a face is not compared.
        rule: see the class.
        apart: N×N, True for rows that are different people, e.g. two faces of one frame.

    Returns:
        N group numbers from 0 in the order of their first faces, or `ALONE`.
    """
    groups = np.full(len(templates), ALONE, np.int64)
    clear = np.flatnonzero(np.asarray(sigmas) <= rule.thresholds.max_sigma)
    if not len(clear):
        return groups
    similar = _similarities(np.asarray(templates, np.float32)[clear], rule.cohort)
    extra = rule.inflation(np.asarray(sigmas, np.float32)[clear])
    similar -= np.minimum(extra[:, None], extra)
    if apart is not None:
        similar[apart[np.ix_(clear, clear)]] = -np.inf
    threshold = rule.thresholds.among(len(clear)).similarity
    weights = np.asarray(sigmas, np.float64)[clear] ** -2
    joined = _join(similar, weights, threshold)
    _, first, number = np.unique(joined, return_index=True, return_inverse=True)
    groups[clear] = np.argsort(np.argsort(first))[number]
    return groups


def group_sightings(sightings: Sequence[Left], rule: GroupingRule) -> NDArray[np.int64]:
    """`group_faces` of sightings, by their fused embeddings; one without any is `ALONE`.

    Those of one source at the same time are different people.
    """
    groups = np.full(len(sightings), ALONE, np.int64)
    rows = [row for row, sighting in enumerate(sightings) if sighting.template is not None]
    if not rows:
        return groups
    seen = [sightings[row] for row in rows]
    templates = np.stack([one.template.mu for one in seen if one.template is not None])
    sigmas = np.array([one.template.clearest for one in seen if one.template is not None])
    _, source = np.unique([one.source for one in seen], return_inverse=True)
    start = np.array([one.start.pts for one in seen])
    end = np.array([one.end.pts for one in seen])
    together = (start[:, None] < end) & (start < end[:, None])
    together |= (start[:, None] == start) & (end[:, None] == end)  # also in a photo
    apart = together & (source[:, None] == source)
    groups[rows] = group_faces(normalise(templates), sigmas, rule, apart=apart)
    return groups


def _similarities(unit: Floats, cohort: Cohort | None) -> Floats:
    cosines = unit @ unit.T
    if cohort is not None:
        means = cohort.means(unit)
        cosines = cohort.normalised(cosines, means[:, None], means[None, :])
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(cosines, np.float32)


def _join(similar: Floats, weights: NDArray[Any], threshold: float) -> NDArray[np.int64]:
    """The row that stands for the group of each row; changes both arguments."""
    label = np.arange(len(similar))
    nearest = similar.argmax(axis=1)
    best = similar[label, nearest]
    while len(best) and best[row := int(best.argmax())] >= threshold:
        other = int(nearest[row])
        total = weights[row] + weights[other]
        merged = (weights[row] * similar[row] + weights[other] * similar[other]) / total
        merged[row] = merged[other] = -np.inf
        similar[row], similar[:, row] = merged, merged
        similar[other], similar[:, other] = -np.inf, -np.inf
        weights[row] = total
        label[label == other] = row
        changed = np.flatnonzero((nearest == row) | (nearest == other))
        for one in (row, other, *changed):
            nearest[one] = similar[one].argmax()
            best[one] = similar[one, nearest[one]]
    return label
