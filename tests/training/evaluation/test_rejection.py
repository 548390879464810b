"""Rejecting by sigma: the misses saved beside a baseline and the best possible; sigma's limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from facestream.training.evaluation.degraded import FACE_REGION, Probes, degrade_face
from facestream.training.evaluation.lfw import Pairs
from facestream.training.evaluation.rejection import (
    SHARES,
    Reject,
    measure_reject,
    sharpness,
    sigma_limit,
)

COUNT = 1200


@pytest.fixture
def reject() -> Reject:
    """Pairs of which the probes are degraded more and more; sigma knows by how much."""
    rng = np.random.default_rng(0)
    people = rng.standard_normal((2 * COUNT, 64)).astype(np.float32)
    genuine = np.arange(2 * COUNT) < COUNT
    pairs = Pairs(
        names=tuple(map(str, range(2 * COUNT))),
        left=np.arange(2 * COUNT),
        right=np.roll(np.arange(2 * COUNT), 0),
        genuine=genuine,
        fold=np.zeros(2 * COUNT, np.int64),
    )
    degraded = rng.uniform(0.2, 2.0, 2 * COUNT).astype(np.float32)
    degraded[rng.random(2 * COUNT) < 0.08] = 30.0
    mu = people + degraded[:, None] * rng.standard_normal(people.shape).astype(np.float32)
    mu[~genuine] = rng.standard_normal((COUNT, 64))
    logvar = np.repeat(2 * np.log(degraded)[:, None], 64, axis=1)
    unit = people / np.linalg.norm(people, axis=1, keepdims=True)
    kept = np.arange(2 * COUNT)[: 2 * COUNT - 40]
    probes = Probes(
        pair=kept,
        faces=rng.integers(0, 256, (len(kept), 8, 8, 3), np.uint8),
        scores=rng.random(len(kept), np.float32),
        sizes=rng.uniform(40, 90, len(kept)).astype(np.float32),
        lost=40,
    )
    return measure_reject(
        pairs, unit, probes, (mu[kept], logvar[kept]), fmr=1e-3, severity=("made", 1.0)
    )


def test_a_sigma_that_knows_saves_nearly_what_can_be_saved(reject: Reject) -> None:
    assert reject.lost == 40
    assert reject.genuine == COUNT
    assert reject.fnmr_oracle <= reject.fnmr_sigma < reject.fnmr
    assert reject.saved_sigma.value == pytest.approx(1 - reject.fnmr_sigma / reject.fnmr)
    assert reject.saved_sigma.low <= reject.saved_sigma.value <= reject.saved_sigma.high


def test_a_baseline_that_knows_nothing_saves_nothing(reject: Reject) -> None:
    # Sizes, sharpness and scores of these probes are noise.
    assert abs(reject.saved_baseline.value) < 0.12
    assert reject.saved_sigma.value > reject.saved_baseline.value + 0.2


def test_the_curve_starts_where_nothing_is_rejected(reject: Reject) -> None:
    assert reject.shares == list(SHARES)
    assert {values[0] for values in reject.curve.values()} == {reject.fnmr}
    assert reject.curve["oracle"] == sorted(reject.curve["oracle"], reverse=True)


def test_only_the_face_is_degraded() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (250, 250, 3), np.uint8)
    changed = [degrade_face(picture, 1.0, i) != picture for i in range(12)]
    outside = np.ones((250, 250), bool)
    outside[FACE_REGION] = False
    assert not any(c[outside].any() for c in changed)
    assert any(c.any() for c in changed)
    assert np.array_equal(degrade_face(picture, 1.0, 0), degrade_face(picture, 1.0, 0))


def test_sharpness_falls_with_blur() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (112, 112, 3), np.uint8)
    flat = np.full((112, 112, 3), 90, np.uint8)
    values = sharpness(np.stack([sharp, flat]))
    assert values[0] > 1000 > values[1] == 0.0


def test_the_step_is_found() -> None:
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 1.5, 4000).astype(np.float32)
    missed = rng.random(4000) < np.where(sigma > 1.2, 0.97, 0.2)
    similarity = np.where(missed, 0.1, 0.6).astype(np.float32)
    limit = sigma_limit(sigma, similarity, threshold=0.4)
    assert limit.value == pytest.approx(1.2, abs=0.03)
    assert limit.fnmr == pytest.approx(0.97, abs=0.02)
    assert limit.beyond == pytest.approx(0.3, abs=0.03)
    assert limit.matched_beyond == pytest.approx(0.3 * 0.03, abs=0.01)


def test_no_limit_where_nothing_is_hopeless_or_too_few_are() -> None:
    sigma = np.linspace(0.5, 1.5, 400, dtype=np.float32)
    good = np.full(400, 0.8, np.float32)
    assert math.isinf(sigma_limit(sigma, good, threshold=0.4).value)
    few = np.where(sigma > np.float32(1.45), 0.1, 0.8).astype(np.float32)
    assert math.isinf(sigma_limit(sigma, few, threshold=0.4).value)


def test_a_limit_never_rests_on_luck_at_low_sigma() -> None:
    """A run of misses among clear pictures does not make them hopeless."""
    sigma = np.linspace(0.5, 1.5, 1000, dtype=np.float32)
    similarity = np.full(1000, 0.8, np.float32)
    similarity[100:150] = similarity[900:] = 0.1
    assert sigma_limit(sigma, similarity, threshold=0.4).value == pytest.approx(1.4, abs=0.01)


def test_a_limit_needs_probes() -> None:
    with pytest.raises(ValueError, match="must be N"):
        sigma_limit(np.zeros(0, np.float32), np.zeros(0, np.float32), threshold=0.4)
