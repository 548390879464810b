"""Rejecting by doubt: what is saved, beside a fitted baseline and beside the best possible."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.training.evaluation.degraded import FACE_REGION, Probes, spoil
from facestream.training.evaluation.doubt import (
    SHARES,
    Reject,
    measure_reject,
    sharpness,
)
from facestream.training.evaluation.lfw import Pairs

COUNT = 1200


@pytest.fixture
def reject() -> Reject:
    """Pairs of which the probes are spoilt more and more; sigma knows by how much."""
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
    spoilt = rng.uniform(0.2, 2.0, 2 * COUNT).astype(np.float32)
    spoilt[rng.random(2 * COUNT) < 0.08] = 30.0
    mu = people + spoilt[:, None] * rng.standard_normal(people.shape).astype(np.float32)
    mu[~genuine] = rng.standard_normal((COUNT, 64))
    logvar = np.repeat(2 * np.log(spoilt)[:, None], 64, axis=1)
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


def test_only_the_face_is_spoilt() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (250, 250, 3), np.uint8)
    changed = [spoil(picture, 1.0, np.random.default_rng((7, i))) != picture for i in range(12)]
    outside = np.ones((250, 250), bool)
    outside[FACE_REGION] = False
    assert not any(c[outside].any() for c in changed)
    assert any(c.any() for c in changed)
    again = spoil(picture, 1.0, np.random.default_rng((7, 0)))
    assert np.array_equal(again, spoil(picture, 1.0, np.random.default_rng((7, 0))))


def test_sharpness_falls_with_blur() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (112, 112, 3), np.uint8)
    flat = np.full((112, 112, 3), 90, np.uint8)
    values = sharpness(np.stack([sharp, flat]))
    assert values[0] > 1000 > values[1] == 0.0
