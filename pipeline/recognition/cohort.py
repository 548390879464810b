"""The cohort that ships, strangers' embeddings, and similarities normalised against it.

A face that resembles many strangers (a child for a network that saw few, a blurred one) gets high
similarities to everybody; one threshold for all then gives false names to some groups far more
often than to others. So the mean similarity to its nearest strangers is subtracted.

This is S-norm (Kenny, "Bayesian speaker verification with heavy-tailed priors", 2010) with an
adaptive cohort (Matějka et al., "Analysis of score normalization in multilingual speaker
recognition", 2017) and without the division; it is half the CSLS of Conneau et al., "Word
translation without parallel data", 2018, and stays on the scale of the cosine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from facestream.engines.cards import MODELS, ModelCard, read_card, verify
from facestream.engines.errors import ModelError
from numpy.typing import NDArray

from ..core.arrays import read_array
from ..core.types import Floats
from .uncertainty import normalise

DEFAULT_COHORT = MODELS / "vae_cohort.json"

# Rows compared with the cohort at once: 256 × 12,000 similarities are 12 MB.
_ROWS: Final = 256
# Up to this many rows einsum replaces BLAS, which shares even small products among threads; its
# workers then spin for some 20 ms: with four live cameras that was a fifth of all CPU time.
_FEW: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Embeddings of people who are in no gallery.

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

    def least_means(self, unit: NDArray[Any]) -> Floats:
        """A lower bound of ``means`` that costs little, N: the mean over the whole cohort."""
        return np.asarray(unit @ self.vectors.mean(axis=0), np.float32)

    def normalised(self, cosines: NDArray[Any], probe: Floats, template: Floats) -> Floats:
        """Similarities on the scale of the cosine, −1..1, without what strangers share.

        Args:
            cosines: any shape.
            probe: ``means`` of the probes; broadcasts against ``cosines``.
            template: ``means`` of the templates.
        """
        scores = np.asarray(cosines - (probe + template) / 2 + self.typical, np.float32)
        return np.asarray(scores.clip(-1, 1), np.float32)


def load_cohort(model_id: str, *, card: Path = DEFAULT_COHORT) -> Cohort:
    """The cohort of the encoder ``model_id``, from a card with the vectors in its folder.

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
        vectors = read_array(path)
        top, typical = int(found.preprocessing["top"]), float(found.preprocessing["typical"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the cohort {path} cannot be read: {error!r}") from error
    if vectors.ndim != 2 or not len(vectors) or not np.isfinite(vectors).all() or top < 1:
        raise ModelError(f"the cohort {path} must be M×D finite numbers, not {vectors.shape}")
    return Cohort(normalise(vectors), top, typical, found)


def leave_one_out(cohort: Cohort) -> Floats:
    """Mean similarity of each member to its nearest other members, M (at least 2)."""
    top = min(cohort.top, len(cohort.vectors) - 1)
    # A member is the most similar to itself: 1.
    own = cohort_statistics(cohort.vectors, cohort.vectors, top=top + 1).mean
    return np.asarray((own * (top + 1) - 1) / top, np.float32)


class Statistics(NamedTuple):
    """Mean and deviation (above 0) of each face's similarities to the cohort."""

    mean: Floats
    deviation: Floats


def cohort_statistics(unit: NDArray[Any], cohort: NDArray[Any], *, top: int) -> Statistics:
    """Mean and deviation of each face's similarities to its nearest members of a cohort.

    Args:
        unit: N×D, of length 1.
        cohort: M×D, of length 1.
        top: how many of the most similar members count; M or more means all.

    Raises:
        ValueError: shapes that do not fit, or ``top`` is below 1.
    """
    if unit.ndim != 2 or cohort.ndim != 2 or unit.shape[1] != cohort.shape[1] or not len(cohort):
        raise ValueError(
            f"faces N×D and a cohort M×D, M ≥ 1, are needed, not {unit.shape} and {cohort.shape}"
        )
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    mean = np.empty(len(unit), np.float32)
    deviation = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _ROWS):
        rows = slice(start, start + _ROWS)
        near = _similarities(unit[rows], cohort)
        if top < len(cohort):
            near.partition(len(cohort) - top, axis=1)
            near = near[:, len(cohort) - top :]
        mean[rows] = near.mean(axis=1)
        deviation[rows] = near.std(axis=1)
    return Statistics(mean, np.maximum(deviation, np.float32(1e-6)))


def _similarities(unit: NDArray[Any], cohort: NDArray[Any]) -> NDArray[Any]:
    """N×M."""
    if len(unit) <= _FEW:
        return np.asarray(np.einsum("nd,md->nm", unit, cohort))
    return np.asarray(unit @ cohort.T)
