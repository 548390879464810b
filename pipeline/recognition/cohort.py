"""The cohort that ships: strangers' embeddings, to see how similar a face is to just anybody."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.cards import MODELS, ModelCard, read_card, verify
from facestream.engines.errors import ModelError
from numpy.typing import NDArray

from ..core.types import Floats
from .scorenorm import centred, cohort_statistics
from .uncertainty import normalise

DEFAULT_COHORT = MODELS / "vae_cohort.json"


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Embeddings of people who are nobody's gallery.

    Attributes:
        vectors: M×D float32, of length 1.
        top: how many of the nearest members a face is compared with.
        typical: the mean similarity that is usual: normalised similarities of usual faces equal
            their cosines.
        card: where they come from; ``card.encoder`` is the model they belong to, and
            ``card.thresholds`` hold for normalised similarities.
    """

    vectors: Floats
    top: int
    typical: float
    card: ModelCard

    def means(self, unit: NDArray[Any]) -> Floats:
        """Mean similarity of faces (N×D, of length 1) to their nearest members, N."""
        return cohort_statistics(unit, self.vectors, top=self.top).mean

    def normalised(self, cosines: NDArray[Any], probe: Floats, template: Floats) -> Floats:
        """Similarities on the scale of the cosine, −1..1, without what strangers share.

        Args:
            cosines: any shape.
            probe: ``means`` of the probes; broadcasts against ``cosines``.
            template: ``means`` of the templates.
        """
        scores = centred(cosines, probe, template, typical=self.typical)
        return np.asarray(scores.clip(-1, 1), np.float32)


def load_cohort(model_id: str, *, card: Path = DEFAULT_COHORT) -> Cohort:
    """The cohort of an encoder.

    Args:
        model_id: of the encoder whose embeddings are to be compared.
        card: the cohort's card, its vectors beside it.

    Raises:
        ModelError: it is missing or damaged, or belongs to another encoder.
    """
    found = read_card(card)
    if found.encoder != model_id:
        raise ModelError(
            f"the cohort {card.name} holds embeddings of '{found.encoder}', and '{model_id}' is "
            "in use: make it anew with 'facestream-train cohort', or set "
            'recognition.normalise = "none"'
        )
    path = verify(found, card.parent)
    try:
        vectors = np.load(path, allow_pickle=False)
        top, typical = int(found.preprocessing["top"]), float(found.preprocessing["typical"])
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ModelError(f"the cohort {path} cannot be read: {error!r}") from error
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all() or top < 1:
        raise ModelError(f"the cohort {path} must be M×D finite numbers, not {vectors.shape}")
    return Cohort(normalise(vectors), top, typical, found)
