"""The Gaussian of the codes gives back what it was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.training.errors import DataError
from facestream.training.generation.components import principal_components
from facestream.training.generation.synthesis import between
from facestream.training.models.prior import LatentPrior

RNG = np.random.default_rng(0)


def codes(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Identities of length √8 and appearances that hang on them."""
    identity = RNG.normal(size=(count, 8)) + 0.5
    identity *= np.sqrt(8) / np.linalg.norm(identity, axis=1, keepdims=True)
    appearance = 0.8 * identity[:, :3] + 0.3 * RNG.normal(size=(count, 3))
    return identity.astype(np.float32), appearance.astype(np.float32)


def test_samples_are_like_the_codes() -> None:
    identity, appearance = codes()
    prior = LatentPrior.fit(identity, appearance, np.full_like(appearance, -20.0))
    made, looks = prior.sample(20000, np.random.default_rng(1))
    assert np.linalg.norm(made, axis=1) == pytest.approx(np.sqrt(8), rel=1e-4)
    assert looks.mean(axis=0) == pytest.approx(appearance.mean(axis=0), abs=0.05)
    assert np.cov(looks.T) == pytest.approx(np.cov(appearance.T), abs=0.06)
    _, calm = prior.sample(2000, np.random.default_rng(1), truncation=0.3)
    assert calm.std() < looks.std()


def test_appearances_follow_the_identity() -> None:
    identity, appearance = codes()
    prior = LatentPrior.fit(identity, appearance, np.full_like(appearance, -20.0))
    looks = prior.appearances(identity[0], 5000, np.random.default_rng(2))
    assert looks.mean(axis=0) == pytest.approx(0.8 * identity[0, :3], abs=0.08)
    assert looks.std(axis=0) == pytest.approx(0.3, abs=0.05)


def test_whitening_is_undone() -> None:
    identity, appearance = codes(500)
    prior = LatentPrior.fit(identity, appearance, np.zeros_like(appearance))
    mean, root, inverse = prior.whitening()
    assert root @ inverse == pytest.approx(np.eye(11), abs=1e-3)
    codes_ = np.concatenate([identity, appearance], axis=1)
    white = (codes_ - mean) @ inverse
    assert white @ root + mean == pytest.approx(codes_, abs=1e-3)


def test_kept_and_read_again(tmp_path: Path) -> None:
    identity, appearance = codes(100)
    prior = LatentPrior.fit(identity, appearance, np.zeros_like(appearance))
    prior.save(tmp_path / "prior.npy")
    again = LatentPrior.load(tmp_path / "prior.npy", identity=8)
    assert again.mean == pytest.approx(prior.mean, abs=1e-5)
    assert again.covariance == pytest.approx(prior.covariance, abs=1e-5)
    with pytest.raises(DataError, match="cannot read the prior"):
        LatentPrior.load(tmp_path / "none.npy", identity=8)
    np.save(tmp_path / "bad.npy", np.zeros((3, 3)))
    with pytest.raises(DataError, match="not a prior"):
        LatentPrior.load(tmp_path / "bad.npy", identity=8)
    with pytest.raises(ValueError, match="too few"):
        LatentPrior.fit(identity[:5], appearance[:5], appearance[:5])


def test_components_of_a_linear_world_are_exact() -> None:
    identity = RNG.normal(size=(300, 4)).astype(np.float32)
    hidden = RNG.normal(size=(300, 3))
    pictures = identity @ RNG.normal(size=(4, 50)) + hidden @ RNG.normal(size=(3, 50)) + 2.0
    found = principal_components(pictures.astype(np.float32), identity, count=3, seed=0)
    rest = pictures - found.mean - identity @ found.explained
    code = rest @ found.inverse
    assert code.std(axis=0) == pytest.approx(1.0, abs=0.05)
    again = found.mean + identity @ found.explained + code @ found.scaled
    # All but exact: the ridge takes a little of what identity explains.
    assert np.square(again - pictures).mean() < 0.01 * pictures.var()


def test_between_goes_along_the_sphere() -> None:
    a, b = codes(2)[0]
    shares = np.linspace(0, 1, 5, dtype=np.float32)[:, None]
    path = between(a, b, shares)
    assert path[0] == pytest.approx(a, abs=1e-4)
    assert path[-1] == pytest.approx(b, abs=1e-4)
    assert np.linalg.norm(path, axis=1) == pytest.approx(np.sqrt(8), rel=1e-4)
    steps = (path[1:] * path[:-1]).sum(axis=1)
    assert steps == pytest.approx(steps[0], rel=1e-3)
    assert between(a, a, shares) == pytest.approx(np.repeat(a[None], 5, axis=0), abs=1e-4)
