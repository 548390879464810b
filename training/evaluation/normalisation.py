"""What score normalisation against a cohort is worth, and the thresholds of normalised scores.

Z-norm and T-norm come from speaker verification (Auckenthaler et al., "Score normalization for
text-independent speaker verification systems", 2000), S-norm from Kenny, 2010; for ``centred``,
which the pipeline uses, see ``recognition.cohort``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from facestream.engines.cards import CalibratedThresholds, Calibration
from facestream.pipeline.recognition.cohort import Cohort, Statistics, cohort_statistics
from facestream.pipeline.recognition.uncertainty import normalise
from numpy.typing import NDArray

from .embeddings import Floats
from .false_matches import all_impostors
from .lfw import Pairs, person_of
from .protocol import Interval, finest_rate, fit_probability, tar_at_far, threshold_at_fmr
from .rejection import SigmaLimit, measure_limit
from .tpir import OpenSet, Outcomes, bootstrap, outcomes, rank_one, split_open_set, tpir

Condition = Literal["clean", "degraded"]
Method = Literal["z", "t", "s", "centred"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
Scoring = Literal["cosine"] | Method
FMR: Final = 1e-3
FPIR: Final = 0.01
_DRAWS: Final = 300


@dataclass(frozen=True, slots=True)
class ScoringRow:
    """One way of scoring under one condition of the probes.

    Attributes:
        scoring: ``cosine`` or a method of normalisation.
        condition: of the probes; the gallery is clean.
        tar: true accept rate at FAR 0.1 % on LFW's pairs.
        tpir: open-set identification rate at FPIR 1 %.
        gain: TPIR less that of the cosine, on the same resampled people.
        rank1: share of mated probes whose best match is right.
    """

    scoring: Scoring
    condition: Condition
    tar: Interval
    tpir: Interval
    gain: Interval
    rank1: Interval


def people_of(pairs: Pairs) -> list[str]:
    """The person of each of LFW's pictures."""
    return [person_of(name) for name in pairs.names]


def calibrate(pairs: Pairs, mu: Floats, cohort: Cohort) -> CalibratedThresholds:
    """Threshold and probability of normalised similarities, from LFW.

    The threshold comes from all pairs of different people among the pictures: the 3,000 impostor
    pairs of the protocol leave three to set it by. The probability is fitted to the protocol's
    pairs, where both outcomes are equally likely.
    """
    unit = normalise(mu)
    means = cohort.means(unit)
    cosine = pairs.similarities(unit)
    scores = cohort.normalised(cosine, means[pairs.left], means[pairs.right])
    slope, intercept = fit_probability(scores[pairs.genuine], scores[~pairs.genuine])
    others = all_impostors(people_of(pairs), unit, (cohort, means))
    protocol = threshold_at_fmr(
        scores[~pairs.genuine], finest_rate(FMR, int((~pairs.genuine).sum()))
    )
    return CalibratedThresholds(
        similarity=round(threshold_at_fmr(others, FMR), 4),
        fmr=FMR,
        basis=(
            f"all {len(others):,} pairs of different people among LFW's pictures, normalised; the "
            f"impostor pairs of the protocol alone would give {protocol:.4f}"
        ),
        probability=Calibration(slope=round(slope, 3), intercept=round(intercept, 3)),
    )


def normalised_limit(
    pairs: Pairs, mu: Floats, degraded: tuple[Floats, Floats], cohort: Cohort, threshold: float
) -> SigmaLimit:
    """``measure_limit`` for normalised similarities."""

    def score(clean: Floats, bad: Floats) -> Floats:
        return cohort.normalised((clean * bad).sum(axis=1), cohort.means(bad), cohort.means(clean))

    return measure_limit(pairs, mu, degraded, threshold=threshold, score=score)


def compare(
    pairs: Pairs,
    mu: Floats,
    degraded: Floats,
    cohort: Floats,
    *,
    top: int,
    scorings: Sequence[Method] = METHODS,
) -> list[ScoringRow]:
    """Each way of scoring, with clean and with degraded probes.

    Args:
        mu: N×D, the pictures as they are.
        degraded: N×D, the same pictures degraded.
        cohort: M×D, of length 1.
        top: how many nearest members count.
        scorings: which ways, besides the cosine.
    """
    clean = normalise(mu)
    split = split_open_set(people_of(pairs))
    template = cohort_statistics(clean, cohort, top=top)
    rows: list[ScoringRow] = []
    ways: tuple[Scoring, ...] = ("cosine", *scorings)
    probes: tuple[tuple[Condition, Floats], ...] = (
        ("clean", clean),
        ("degraded", normalise(degraded)),
    )
    for condition, unit in probes:
        probe = cohort_statistics(unit, cohort, top=top)
        cosine = (clean[pairs.left] * unit[pairs.right]).sum(axis=1)
        search = unit[split.probes] @ clean[split.gallery].T
        found, tars = [], []
        for scoring in ways:
            scores = _scored(
                scoring, cosine, _take(probe, pairs.right), _take(template, pairs.left)
            )
            far = finest_rate(FMR, int((~pairs.genuine).sum()))
            tars.append(tar_at_far(scores[pairs.genuine], scores[~pairs.genuine], far))
            sides = _column(_take(probe, split.probes)), _take(template, split.gallery)
            found.append(outcomes(_scored(scoring, search, *sides), split.truth))
        rows += _rows(condition, ways, tars, found, split)
    return rows


def _rows(
    condition: Condition,
    scorings: Sequence[Scoring],
    tars: Sequence[Interval],
    found: Sequence[Outcomes],
    split: OpenSet,
) -> list[ScoringRow]:
    rate = finest_rate(FPIR, int((split.truth < 0).sum()))
    draws = bootstrap(found, split.person, fpir=rate, draws=_DRAWS)
    base = tpir(found[0], rate)[0]
    rows = []
    for method, scoring in enumerate(scorings):
        value, first = tpir(found[method], rate)[0], rank_one(found[method])
        rows.append(
            ScoringRow(
                scoring=scoring,
                condition=condition,
                tar=tars[method],
                tpir=draws.interval(value, method),
                gain=draws.difference(value - base, method, 0),
                rank1=draws.rank_interval(first, method),
            )
        )
    return rows


def _scored(scoring: Scoring, cosine: Floats, probe: Statistics, template: Statistics) -> Floats:
    if scoring == "cosine":
        return cosine
    return normalised(scoring, cosine, probe, template)


def _take(statistics: Statistics, rows: NDArray[np.int64]) -> Statistics:
    return Statistics(statistics.mean[rows], statistics.deviation[rows])


def _column(statistics: Statistics) -> Statistics:
    """N×1, for the rows of a matrix of scores."""
    return Statistics(statistics.mean[:, None], statistics.deviation[:, None])


def normalised(
    method: Method, scores: NDArray[Any], probe: Statistics, template: Statistics
) -> Floats:
    """The scores by one of ``METHODS``; ``probe`` and ``template`` broadcast against them.

    ``z`` is (score − mean) ÷ deviation of the template's similarities to the cohort, ``t`` that of
    the probe's, ``s`` the mean of both, and ``centred`` the score less the mean of both means.

    Raises:
        ValueError: no such method.
    """
    if method not in METHODS:
        raise ValueError(f"no score normalisation is called {method!r}; choose from {METHODS}")
    if method == "centred":
        return np.asarray(scores - (probe.mean + template.mean) / 2, np.float32)
    z = np.asarray((scores - template.mean) / template.deviation, np.float32)
    t = np.asarray((scores - probe.mean) / probe.deviation, np.float32)
    return {"z": z, "t": t, "s": np.asarray((z + t) / 2, np.float32)}[method]


def as_metrics(rows: Sequence[ScoringRow]) -> dict[str, Any]:
    """The figures for a card: cosine and ``centred``, which is what the pipeline uses."""
    return {
        f"lfw_{row.condition}_{row.scoring}": {
            "tar_at_far_0.001": round(row.tar.value, 4),
            "tpir_at_fpir_0.01": round(row.tpir.value, 4),
            "tpir_95": [round(row.tpir.low, 4), round(row.tpir.high, 4)],
            "tpir_gain": round(row.gain.value, 4),
            "tpir_gain_95": [round(row.gain.low, 4), round(row.gain.high, 4)],
        }
        for row in rows
        if row.scoring in ("cosine", "centred")
    }
