"""Which detection continues which track: one assignment, by motion and overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.assignment import assign
from ..core.boxes import iou_matrix
from ..core.types import Floats
from .kalman import Motion, Numbers, coordinates

# Squared distance (Mahalanobis, three coordinates) beyond which a detection is another
# face: were all motion as modelled, one in 60,000 of the right ones would lie outside.
GATE = 25.0
# Logarithm of how much likelier a face here is the track's than a newcomer's, before the place
# is compared: newcomers spread over the whole picture, some tens of faces' areas.
PRIOR = 4.0
# A track's other choice this close in log-likelihood (or another track's claim to its face)
# makes the pairing ambiguous.
AMBIGUITY = 4.0


class Association(NamedTuple):
    """Which detection continues which track.

    Attributes:
        pairs: (track row, detection row), each row at most once.
        ambiguous: the track rows in ``pairs`` that could as well be paired otherwise.
    """

    pairs: list[tuple[int, int]]
    ambiguous: set[int]


def associate(motion: Motion, detected: Floats, *, at: float, min_iou: float) -> Association:
    """The likeliest pairing of tracks and detections.

    Args:
        motion: of the T tracks.
        detected: N×4 boxes that were found.
        at: their presentation time in seconds.
        min_iou: from this overlap with the expected box, 0..1, a detection may be the track's
            whatever its size and place.
    """
    if not len(motion) or not len(detected):
        return Association([], set())
    score = _scores(motion, detected, at, min_iou)
    pairs = assign(score)
    return Association(pairs, _ambiguous(score, pairs))


def _scores(motion: Motion, detected: Floats, at: float, min_iou: float) -> Numbers:
    """T×N log-likelihood ratios of "the track's" to "a newcomer's"; −inf where impossible."""
    value, variance, unit = (column[:, :3] for column in motion.forecast(at))
    apart = coordinates(detected)[None, :, :3] - value[:, None]
    distance = (apart**2 / variance[:, None]).sum(axis=2)
    score: Numbers = PRIOR - (distance + np.log(variance / unit).sum(axis=1)[:, None]) / 2
    score[distance > GATE] = -np.inf
    overlap = iou_matrix(motion.expected(at), detected)
    near = overlap >= min_iou
    score[near] = np.maximum(score[near], overlap[near])
    return score


def _ambiguous(score: Numbers, pairs: list[tuple[int, int]]) -> set[int]:
    if not pairs or score.size == 1:
        return set()
    rows, columns = np.array(pairs, np.intp).T
    mine = score[rows, columns]
    rest = score.copy()
    rest[rows, columns] = -np.inf
    others = np.maximum(rest.max(axis=1)[rows], rest.max(axis=0)[columns])
    return {int(row) for row in rows[others > np.maximum(mine - AMBIGUITY, 0.0)]}
