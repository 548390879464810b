"""What sigma is worth: its rise with degradation, the gain of rejecting by it, and its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from facestream.pipeline.recognition.uncertainty import normalise, sigma
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import cross_val_predict  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ..data.degrade import Kind, degrade
from ..progress import ReportProgress, counted
from .degraded import SEVERITIES, Probes, read_probes
from .embeddings import Floats, embed_all
from .lfw import Lfw, Pairs
from .protocol import Interval, finest_rate, fnmr_after_reject, percentiles, threshold_at_fmr

SIGMA_KINDS: Final[tuple[Kind, ...]] = ("blur", "downscale", "noise", "jpeg", "occlusion")
LEVELS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
REJECT: Final = 0.1
SHARES: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
# Beyond the limit nine in ten faces are missed: what still matches is as likely to be chance.
HOPELESS: Final = 0.9
# Fewer probes than this beyond a limit are no ground for it.
FEWEST: Final = 30


@dataclass(frozen=True, slots=True)
class Monotony:
    """Sigma against the level of each kind of degradation.

    Attributes:
        spearman: by kind, over all pictures and levels.
        within: the same within a picture, averaged over pictures.
        levels: what was tried. by_level: mean sigma at each, by kind.
    """

    spearman: dict[str, float]
    within: dict[str, float]
    levels: list[float]
    by_level: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Reject:
    """False non-match rate on degraded probes, and without the 10 % most uncertain of them.

    Attributes:
        severity: name. strength: the highest level of degradation drawn.
        lost: pairs whose probe the detector did not find (not counted below).
        genuine: pairs of one person that are.
        fnmr: at FMR 0.1 %. fnmr_sigma: without the 10 % of highest sigma.
        saved_sigma: share of FNMR that this saves, with its 95 % interval (bootstrap over pairs).
        fnmr_baseline, saved_baseline: rejected by a logistic regression on face size, Laplacian
            sharpness and the detector's score, fitted to the very misses (out of fold).
        fnmr_sharpness: rejected by sharpness alone.
        fnmr_oracle: without the 10 % least similar: nothing could do better.
        shares: of probes rejected. curve: FNMR at each, by method.
    """

    severity: str
    strength: float
    lost: int
    genuine: int
    fnmr: float
    fnmr_sigma: float
    saved_sigma: Interval
    fnmr_baseline: float
    saved_baseline: Interval
    fnmr_sharpness: float
    fnmr_oracle: float
    shares: list[float]
    curve: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class SigmaLimit:
    """Where naming should end.

    Attributes:
        value: faces of a greater sigma are ``uncertain``; infinite where nothing is hopeless.
        fnmr: share of the genuine probes beyond it that are missed.
        beyond: share of the genuine probes beyond it.
        matched_beyond: share of the genuine probes that match although they lie beyond it: what
            the limit costs.
    """

    value: float
    fnmr: float
    beyond: float
    matched_beyond: float


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """All figures of an encoder's sigma.

    Attributes:
        monotony: see ``Monotony``.
        rejects: one for each severity.
        clean_sigma: 5th, 50th and 95th percentile of sigma on LFW as it is.
        limit: the greatest sigma that a face may have to be named.
    """

    monotony: Monotony
    rejects: list[Reject]
    clean_sigma: list[float]
    limit: SigmaLimit


def measure_uncertainty(
    encoder: Encoder,
    lfw: Lfw,
    embedded: tuple[Floats, Floats],
    *,
    fmr: float,
    threshold: float,
    progress: ReportProgress,
) -> Uncertainty:
    """Measure an encoder's sigma.

    Args:
        lfw: pairs and crops.
        embedded: mu and logvar of the crops, N×D each.
        fmr: rate for the thresholds on degraded pairs.
        threshold: from which a clean pair matches, for the limit.
    """
    mu, logvar = embedded
    unit = normalise(mu)
    rejects = []
    for name, strength in SEVERITIES.items():
        add = counted(progress, f"degrade ({name})", len(lfw.pairs.right))
        probes = read_probes(
            lfw.folder, lfw.pairs, strength=strength, cache=lfw.cache, progress=add
        )
        bad = embed_all(encoder, probes.faces, what=f"embed ({name})", progress=progress)
        severity = (name, strength)
        rejects.append(measure_reject(lfw.pairs, unit, probes, bad, fmr=fmr, severity=severity))
    degraded = lfw.embed_degraded(encoder, progress=progress)
    return Uncertainty(
        monotony=measure_monotony(encoder, lfw.crops.faces, progress=progress),
        rejects=rejects,
        clean_sigma=[float(v) for v in np.percentile(sigma(logvar), (5, 50, 95))],
        limit=measure_limit(lfw.pairs, mu, degraded, threshold=threshold),
    )


def measure_limit(
    pairs: Pairs,
    mu: Floats,
    degraded: tuple[Floats, Floats],
    *,
    threshold: float,
    score: Callable[[Floats, Floats], Floats] = lambda a, b: (a * b).sum(axis=1),
) -> SigmaLimit:
    """The limit of sigma, from genuine pairs with one face degraded after its detection.

    Of photos degraded before detection the worst are not found at all, so they cannot show where
    an embedding becomes hopeless.

    Args:
        mu: N×D of the pictures as they are.
        degraded: mu and logvar of the same pictures degraded, N×D each.
        threshold: from which a pair matches.
        score: of clean and degraded embeddings (M×D each, of length 1), M; the cosine by default.
    """
    left, right = pairs.left[pairs.genuine], pairs.right[pairs.genuine]
    scores = score(normalise(mu)[left], normalise(degraded[0])[right])
    return sigma_limit(sigma(degraded[1])[right], scores, threshold=threshold)


def sigma_limit(sigma: Floats, similarity: Floats, *, threshold: float) -> SigmaLimit:
    """The lowest sigma at which ``HOPELESS`` of the genuine probes are expected to be missed.

    The expectation is an isotonic regression of misses on sigma: it can only rise.

    Args:
        sigma: N, of the probes of genuine pairs.
        similarity: N, of each probe to its reference.
        threshold: from which a pair matches.

    Raises:
        ValueError: no probes, or lengths that differ.
    """
    if sigma.shape != similarity.shape or sigma.ndim != 1 or not len(sigma):
        raise ValueError(f"sigma and similarity must be N, not {sigma.shape}, {similarity.shape}")
    order = np.argsort(sigma, kind="stable")
    values, missed = sigma[order], similarity[order] < threshold
    hopeless = values[isotonic_regression(missed.astype(np.float64)).x >= HOPELESS]
    limit = round(float(hopeless[0]), 3) if len(hopeless) >= FEWEST else float("inf")
    beyond = values > limit
    return SigmaLimit(
        value=limit,
        fnmr=float(missed[beyond].mean()) if beyond.any() else float("nan"),
        beyond=float(beyond.mean()),
        matched_beyond=float((~missed & beyond).mean()),
    )


def measure_monotony(
    encoder: Encoder, faces: Image, *, pictures: int = 120, seed: int = 0, progress: ReportProgress
) -> Monotony:
    """Sigma of some aligned faces (N×112×112×3) degraded at six levels of each kind."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(faces), min(pictures, len(faces)), replace=False)
    spearman: dict[str, float] = {}
    within: dict[str, float] = {}
    by_level: dict[str, list[float]] = {}
    for kind in SIGMA_KINDS:
        rows = np.stack(
            [[degrade(face, kind, level, rng) for level in LEVELS] for face in faces[chosen]]
        )
        _, out = embed_all(encoder, rows.reshape(-1, *rows.shape[2:]), what=kind, progress=progress)
        values = sigma(out).reshape(len(chosen), len(LEVELS))
        levels = np.broadcast_to(np.array(LEVELS), values.shape)
        spearman[kind] = float(spearmanr(values.ravel(), levels.ravel()).statistic)
        within[kind] = float(np.mean([spearmanr(v, LEVELS).statistic for v in values]))
        by_level[kind] = [float(v) for v in values.mean(axis=0)]
    return Monotony(spearman, within, list(LEVELS), by_level)


def measure_reject(
    pairs: Pairs,
    unit: Floats,
    probes: Probes,
    embedded: tuple[Floats, Floats],
    *,
    fmr: float,
    severity: tuple[str, float],
) -> Reject:
    """FNMR of degraded probes against the clean left pictures.

    Args:
        unit: N×D, L2-normalised embeddings of the clean pictures.
        probes: M of the pairs.
        embedded: mu and logvar of the probes, M×D each.
        fmr: for the threshold, on the degraded impostor pairs.
        severity: its name and strength.
    """
    mu, logvar = embedded
    similarity = (unit[pairs.left[probes.pair]] * normalise(mu)).sum(axis=1)
    same = pairs.genuine[probes.pair]
    genuine, impostor = similarity[same], similarity[~same]
    rate = finest_rate(fmr, len(impostor))
    missed = genuine < threshold_at_fmr(impostor, rate)
    sharp = sharpness(probes.faces)
    quality = np.stack([np.log(probes.sizes), np.log(sharp + 1e-3), probes.scores], axis=1)
    orders = {
        "sigma": sigma(logvar)[same],
        "baseline": _expected_miss(quality[same], missed),
        "sharpness": -sharp[same],
        "oracle": -genuine,
    }
    curve = {
        name: [
            fnmr_after_reject(genuine, impostor, order, fmr=rate, reject=share)[1]
            for share in SHARES
        ]
        for name, order in orders.items()
    }
    at = SHARES.index(REJECT)
    return Reject(
        severity=severity[0],
        strength=severity[1],
        lost=probes.lost,
        genuine=len(genuine),
        fnmr=curve["sigma"][0],
        fnmr_sigma=curve["sigma"][at],
        saved_sigma=_saved(missed, orders["sigma"]),
        fnmr_baseline=curve["baseline"][at],
        saved_baseline=_saved(missed, orders["baseline"]),
        fnmr_sharpness=curve["sharpness"][at],
        fnmr_oracle=curve["oracle"][at],
        shares=list(SHARES),
        curve=curve,
    )


def sharpness(faces: Image) -> Floats:
    """Variance of the Laplacian of each face (N×H×W×3 BGR), N float32."""
    return np.array(
        [cv2.Laplacian(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var() for f in faces],
        np.float32,
    )


def _expected_miss(quality: Floats, missed: NDArray[np.bool_]) -> Floats:
    """Probability of a miss from M×3 measures of quality, each predicted from the other folds.

    Fitted to the misses themselves, which sigma never saw: a strong baseline on purpose.
    """
    if len(np.unique(missed)) < 2 or min(missed.sum(), (~missed).sum()) < 10:
        return np.zeros(len(missed), np.float32)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    predicted = cross_val_predict(model, quality, missed, cv=10, method="predict_proba")
    return np.asarray(predicted[:, 1], np.float32)


def _saved(missed: NDArray[np.bool_], uncertainty: Floats, *, draws: int = 500) -> Interval:
    """Share of the misses' rate that rejecting the most uncertain tenth saves."""
    rng = np.random.default_rng(0)

    def saved(chosen: NDArray[np.int64]) -> float:
        bad, order = missed[chosen], np.argsort(uncertainty[chosen], kind="stable")
        kept = bad[order[: len(order) - round(REJECT * len(order))]]
        return float(1 - kept.mean() / bad.mean()) if bad.any() else 0.0

    count = len(missed)
    drawn = [saved(rng.integers(0, count, count)) for _ in range(draws)]
    return percentiles(saved(np.arange(count)), drawn)
