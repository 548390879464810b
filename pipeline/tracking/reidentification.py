"""Re-identification by embedding: corrects tracks whose faces were exchanged, replaced or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.assignment import assign
from ..core.types import Floats
from .track import Track

# An embedding that resembles its track less than this is another person in the same place (a cut, a
# crossing): same-person pairs of LFW lie above 0.2, neighbouring frames of one face above 0.6.
SPLIT_SIMILARITY = 0.1
# An embedding that resembles a track at least so much may be its face again: about the threshold
# at FMR 0.1 %.
REIDENTIFY_SIMILARITY = 0.4
# How much likelier it is that a face stays who it was than that two were exchanged.
STAY_LEAD = 0.15


@dataclass(slots=True, eq=False)
class Candidate:
    """An embedding that needs a track.

    Attributes:
        mu: D float32.
        own: the track of its tracklet, without embeddings when it is new; None when there is none.
        ambiguous: its tracklet may have been exchanged with another.
    """

    mu: Floats
    own: Track | None
    ambiguous: bool


def reassign(candidates: Sequence[Candidate], lost: Sequence[Track]) -> list[Track | None]:
    """The track of each candidate: its own, one that was lost, another's, or None for a new one.

    An assignment: no track is given twice, and the sum of similarities is greatest.

    Args:
        candidates: those of one frame.
        lost: tracks of the source whose faces were not found in this frame.
    """
    if not _in_question(candidates, lost):
        return [candidate.own for candidate in candidates]
    pool = [candidate.own for candidate in candidates if candidate.own is not None]
    pool += [track for track in lost if track.template.count]
    gains = np.array([[_gain(candidate, track) for track in pool] for candidate in candidates])
    given: list[Track | None] = [None] * len(candidates)
    for row, column in assign(gains):
        given[row] = pool[column]
    return given


def _in_question(candidates: Sequence[Candidate], lost: Sequence[Track]) -> bool:
    """True when a face is new, its tracklet ambiguous, or its embedding unlike its track."""
    for candidate in candidates:
        own = candidate.own
        if own is None or not own.template.count:
            if lost or len(candidates) > 1:
                return True
        elif candidate.ambiguous or own.template.similarity(candidate.mu) < REIDENTIFY_SIMILARITY:
            return True
    return False


def _gain(candidate: Candidate, track: Track) -> float:
    """The evidence for this track against a new one; 0: it cannot be this one."""
    own = track is candidate.own
    if not track.template.count:
        return STAY_LEAD if own else 0.0
    similarity = track.template.similarity(candidate.mu)
    if similarity < (SPLIT_SIMILARITY if own else REIDENTIFY_SIMILARITY):
        return 0.0
    return similarity - SPLIT_SIMILARITY + (STAY_LEAD if own else 0.0)
