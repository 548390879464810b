"""The figures of made pictures, recomputed independently."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.training.generation.metrics import (
    frechet_distance,
    identity_cosine,
    interval,
    psnr,
    ssim,
)
from skimage.metrics import peak_signal_noise_ratio

RNG = np.random.default_rng(0)
A = RNG.integers(0, 256, (40, 40, 3), np.uint8)
B = np.clip(A + RNG.normal(0, 12, A.shape), 0, 255).astype(np.uint8)


def test_psnr() -> None:
    theirs = peak_signal_noise_ratio(A, B)  # type: ignore[no-untyped-call]
    assert psnr(A, B) == pytest.approx(theirs, rel=1e-9)
    assert psnr(A, A) == 100.0
    where = np.zeros((40, 40), bool)
    where[5:9, 7:20] = True
    error = np.mean((A[5:9, 7:20].astype(float) - B[5:9, 7:20]) ** 2)
    assert psnr(A, B, where=where) == pytest.approx(10 * np.log10(255**2 / error))
    with pytest.raises(ValueError, match="no pixel counts"):
        psnr(A, B, where=np.zeros((40, 40), bool))
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(A, B[:20])


def test_ssim() -> None:
    assert ssim(A, A) == pytest.approx(1.0)
    flat = np.full_like(A, 128)
    assert ssim(A, flat) < ssim(A, B) < 1
    where = np.zeros((40, 40), bool)
    where[10:30, 10:30] = True
    damaged = A.copy()
    damaged[:8] = 0
    assert ssim(A, damaged, where=where) > ssim(A, damaged)


def test_identity_cosine() -> None:
    a, b = RNG.normal(size=(5, 8)), RNG.normal(size=(5, 8))
    expected = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert identity_cosine(a, 3 * b) == pytest.approx(expected, abs=1e-6)


def test_frechet_distance_of_gaussians_with_a_known_answer() -> None:
    # Diagonal covariances: |m|² + Σ(s − t)².
    rows = RNG.normal(size=(4000, 3))
    rows = (rows - rows.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    a = rows * [1.0, 2.0, 3.0]
    b = rows * [2.0, 2.0, 1.0] + [1.0, 0.0, -2.0]
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="N, M"):
        frechet_distance(a, b[:, :2])


def test_interval_holds_the_mean() -> None:
    values = RNG.normal(3, 1, 400)
    found = interval(values)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
