"""A calibration that is stored with a database, and used instead of the model card's thresholds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from facestream.engines.cards import CalibratedThresholds, StrictModel
from pydantic import Field

from ..core.types import Floats
from ..recognition.cohort import Cohort, leave_one_out
from ..recognition.uncertainty import normalise

# Fewer of the user's own strangers say too little of how similar just anybody is.
LEAST_STRANGERS: Final = 200
# The share of a cohort that a face is compared with, as in the one that ships (300 of 12,396).
NEAREST: Final = 0.025


class StoredCalibration(StrictModel):
    """What `facestream calibrate` stores.

    Attributes:
        model: id of the encoder whose embeddings were compared.
        normalise: as ``recognition.normalise``.
        own_cohort: similarities are normalised by this installation's own strangers.
        created: UTC, ISO 8601.
        thresholds: as in a card.
        ceilings: person id to the similarity that this person's name needs, above the threshold:
            somebody else was as similar as that.
        report: the figures behind it, for ``--show``.
    """

    model: str
    normalise: Literal["cohort", "none"]
    own_cohort: bool = False
    created: str
    thresholds: CalibratedThresholds
    ceilings: dict[int, float] = Field(default_factory=dict)
    report: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedRules:
    """A stored calibration, and the strangers that it needs.

    Attributes:
        stored: see the class.
        strangers: M×D embeddings, where ``stored.own_cohort``.
    """

    stored: StoredCalibration
    strangers: Floats | None = None

    def problem(self, model: str, normalise: str) -> str | None:
        """Why it does not hold for this encoder and setting; None: it does."""
        stored = self.stored
        if stored.model != model:
            return f"it is for the model '{stored.model}', and '{model}' is in use"
        if stored.normalise != normalise:
            return f'it is for recognition.normalise = "{stored.normalise}"'
        members = 0 if self.strangers is None else len(self.strangers)
        if stored.own_cohort and members < LEAST_STRANGERS:
            return f"{members} of its own strangers are left, and {LEAST_STRANGERS} are needed"
        return None


def own_cohort(strangers: Floats, shipped: Cohort) -> Cohort:
    """A cohort of an installation's own strangers.

    Args:
        strangers: M×D embeddings of any length, one a person, M at least `LEAST_STRANGERS`.
        shipped: of the same encoder.
    """
    unit = normalise(strangers)
    top = max(10, round(NEAREST * len(unit)))
    digest = hashlib.sha256(unit.tobytes()).hexdigest()
    card = shipped.card.model_copy(
        update={"id": f"own-{len(unit)}-{digest[:8]}", "sha256": digest, "name": "own cohort"}
    )
    cohort = Cohort(unit, top, 0.0, card)
    return replace(cohort, typical=float(leave_one_out(cohort).mean()))
