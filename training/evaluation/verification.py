"""Verification on LFW through our own detector and alignment, and the report of an encoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from facestream.engines.cards import Calibration, Thresholds
from facestream.pipeline.recognition.uncertainty import normalise

from .embeddings import Floats
from .false_matches import all_impostors
from .lfw import Pairs, person_of
from .protocol import (
    Interval,
    finest_rate,
    fit_probability,
    fold_accuracy,
    tar_at_far,
    threshold_at_fmr,
)
from .rejection import SigmaLimit, Uncertainty

FMR: Final = 1e-3
DEFAULT_BASIS: Final = "the 3000 impostor pairs of LFW's protocol"


@dataclass(frozen=True, slots=True)
class Verification:
    """LFW by the 10-fold protocol.

    Attributes:
        accuracy: mean over the folds; its deviation and the folds beside it.
        tar: true accept rate by false accept rate.
        threshold: similarity at FMR 0.1 % on the protocol's impostor pairs (the default).
        threshold_all_pairs: the same on all pairs of different people among the pictures.
        all_pairs: how many those are.
        slope, intercept: from similarity to probability, both outcomes equally likely before.
        not_found: pictures in which no face was found (cut by average landmarks).
    """

    pairs: int
    accuracy: Interval
    deviation: float
    folds: list[float]
    tar: dict[str, Interval]
    threshold: float
    threshold_all_pairs: float
    fmr_at_default_on_all_pairs: float
    all_pairs: int
    slope: float
    intercept: float
    not_found: int


@dataclass(frozen=True, slots=True)
class EncoderReport:
    """All figures of one encoder."""

    model: str
    backend: str
    precision: str
    verification: Verification
    uncertainty: Uncertainty | None = None
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    def thresholds(self) -> Thresholds:
        """The default threshold and the probability, for the model's card."""
        return Thresholds(
            similarity=round(self.verification.threshold, 4),
            fmr=FMR,
            basis=(
                f"{DEFAULT_BASIS} (facestream's detector and alignment); all "
                f"{self.verification.all_pairs:,} pairs of different people would give "
                f"{self.verification.threshold_all_pairs:.4f}"
            ),
            probability=Calibration(
                slope=round(self.verification.slope, 3),
                intercept=round(self.verification.intercept, 3),
            ),
        )

    def card_metrics(self) -> dict[str, Any]:
        """The figures that go on the model's card."""
        lfw = self.verification
        metrics: dict[str, Any] = {
            "lfw_accuracy": round(lfw.accuracy.value, 4),
            "lfw_accuracy_95": [round(lfw.accuracy.low, 4), round(lfw.accuracy.high, 4)],
            "lfw_accuracy_deviation": round(lfw.deviation, 4),
            "lfw_faces_not_found": lfw.not_found,
            "threshold_all_pairs_fmr_0.001": round(lfw.threshold_all_pairs, 4),
            "backend": f"{self.backend} {self.precision}",
        }
        for far, tar in lfw.tar.items():
            metrics[f"lfw_tar_at_far_{far}"] = round(tar.value, 4)
            metrics[f"lfw_tar_at_far_{far}_95"] = [round(tar.low, 4), round(tar.high, 4)]
        if self.uncertainty is not None:
            found = self.uncertainty
            metrics["sigma_spearman"] = {k: round(v, 3) for k, v in found.monotony.spearman.items()}
            metrics["sigma_percentiles_5_50_95"] = [round(v, 3) for v in found.clean_sigma]
            metrics |= limit_metrics(found.limit)
            metrics["degraded_lfw"] = {
                reject.severity: {
                    "fnmr": round(reject.fnmr, 4),
                    "fnmr_rejecting_10_percent": round(reject.fnmr_sigma, 4),
                    "saved": round(reject.saved_sigma.value, 3),
                    "saved_by_baseline": round(reject.saved_baseline.value, 3),
                }
                for reject in found.rejects
            }
        return metrics


def limit_metrics(limit: SigmaLimit) -> dict[str, Any]:
    """The limit of sigma for a card; nothing where there is none."""
    if not np.isfinite(limit.value):
        return {}
    return {
        "max_sigma": limit.value,
        "max_sigma_fnmr_beyond": round(limit.fnmr, 3),
        "max_sigma_genuine_lost": round(limit.matched_beyond, 4),
    }


def verify(pairs: Pairs, mu: Floats, *, not_found: int) -> Verification:
    """The protocol's figures from the embeddings of its pictures (N×D, in ``pairs.names`` order).

    With too few pairs for a rate (a subset of the folds) the rate is the finest they allow.
    """
    unit = normalise(mu)
    similarity = pairs.similarities(unit)
    folds = fold_accuracy(similarity, pairs.genuine, pairs.fold)
    genuine, impostor = similarity[pairs.genuine], similarity[~pairs.genuine]
    finest = finest_rate(FMR, len(impostor))
    others = all_impostors([person_of(name) for name in pairs.names], unit)
    threshold = threshold_at_fmr(impostor, finest)
    slope, intercept = fit_probability(genuine, impostor)
    return Verification(
        pairs=len(similarity),
        accuracy=folds.mean,
        deviation=folds.deviation,
        folds=folds.folds.tolist(),
        tar={f"{far:g}": tar_at_far(genuine, impostor, max(far, finest)) for far in (1e-2, FMR)},
        threshold=threshold,
        threshold_all_pairs=threshold_at_fmr(others, FMR),
        fmr_at_default_on_all_pairs=float((others >= threshold).mean()),
        all_pairs=len(others),
        slope=slope,
        intercept=intercept,
        not_found=not_found,
    )
