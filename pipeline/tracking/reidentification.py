"""Who is who by looks: faces that were exchanged, replaced or lost are put right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.assignment import assign
from ..core.types import Floats
from .track import Sighting

# A look that resembles its sighting less than this is another person in the same place (a cut, a
# crossing): same-person pairs of LFW lie above 0.2, neighbouring frames of one face above 0.6.
SPLIT_SIMILARITY = 0.1
# A look that resembles a sighting at least so much may be its face again: about the threshold
# that lets one in a thousand strangers pass.
REJOIN_SIMILARITY = 0.4
# How much likelier it is that a face stays who it was than that two were exchanged.
STAY_LEAD = 0.15


@dataclass(slots=True, eq=False)
class Candidate:
    """A look that needs a sighting.

    Attributes:
        mu: D float32.
        own: the sighting of its follower, without looks when it is new; None when there is none.
        doubtful: its follower may have been exchanged with another.
    """

    mu: Floats
    own: Sighting | None
    doubtful: bool


def settle(looks: Sequence[Candidate], lost: Sequence[Sighting]) -> list[Sighting | None]:
    """The sighting of each look: its own, one that was lost, another's, or None for a new one.

    An assignment: no sighting is given twice, and the sum of similarities is greatest.

    Args:
        looks: those of one frame.
        lost: sightings of the source whose faces were not found in this frame.
    """
    if not _in_question(looks, lost):
        return [look.own for look in looks]
    pool = [look.own for look in looks if look.own is not None]
    pool += [s for s in lost if s.template.looks]
    gains = np.array([[_gain(look, sighting) for sighting in pool] for look in looks])
    given: list[Sighting | None] = [None] * len(looks)
    for row, column in assign(gains):
        given[row] = pool[column]
    return given


def _in_question(looks: Sequence[Candidate], lost: Sequence[Sighting]) -> bool:
    """True when a face is new, in doubt, or does not look like itself."""
    for look in looks:
        own = look.own
        if own is None or not own.template.looks:
            if lost or len(looks) > 1:
                return True
        elif look.doubtful or own.template.similarity(look.mu) < REJOIN_SIMILARITY:
            return True
    return False


def _gain(look: Candidate, sighting: Sighting) -> float:
    """What speaks for this sighting, against a new one; 0: it cannot be this one."""
    own = sighting is look.own
    if not sighting.template.looks:
        return STAY_LEAD if own else 0.0
    similarity = sighting.template.similarity(look.mu)
    if similarity < (SPLIT_SIMILARITY if own else REJOIN_SIMILARITY):
        return 0.0
    return similarity - SPLIT_SIMILARITY + (STAY_LEAD if own else 0.0)
