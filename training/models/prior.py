"""The prior of codes: one Gaussian over identity and appearance together.

The appearance's KL only pulls its code towards a standard normal, and the identity has no prior of
its own. So the codes of training pictures are measured, and samples are drawn from their Gaussian
(Ghosh et al. 2020 call it ex-post density estimation); given an identity, the same Gaussian gives
the appearances that go with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.pipeline.core.arrays import read_array
from numpy.typing import NDArray

from ..errors import DataError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LatentPrior:
    """A Gaussian of z = [identity | appearance].

    Attributes:
        mean: D+A. covariance: (D+A)×(D+A).
        identity: D.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    identity: int

    @classmethod
    def fit(cls, identity: Floats, mu: Floats, logvar: Floats) -> LatentPrior:
        """Measure training pictures' codes.

        Args:
            identity: N×D, ``direction`` of the recogniser's embeddings.
            mu: N×A, of the appearance. logvar: N×A.

        Raises:
            ValueError: fewer pictures than dimensions.
        """
        codes = np.concatenate([identity, mu], axis=1).astype(np.float64)
        if len(codes) <= codes.shape[1]:
            raise ValueError(f"{len(codes)} codes are too few for {codes.shape[1]} dimensions")
        covariance = np.cov(codes, rowvar=False)
        start = identity.shape[1]
        # The encoder's own variance belongs to the codes that the decoder was trained on.
        own = np.exp(logvar.astype(np.float64)).mean(axis=0)
        covariance[range(start, len(covariance)), range(start, len(covariance))] += own
        return cls(codes.mean(axis=0), covariance, start)

    def sample(
        self, count: int, rng: np.random.Generator, *, truncation: float = 1.0
    ) -> tuple[Floats, Floats]:
        """New faces: identities count×D of length √D, and appearances count×A.

        Args:
            truncation: how far from the mean, 0 to 1: less is more ordinary, and cleaner.
        """
        noise = rng.standard_normal((count, len(self.mean)))
        codes = self.mean + truncation * noise @ _root(self.covariance).T
        return _on_sphere(codes[:, : self.identity]), codes[:, self.identity :].astype(np.float32)

    def appearances(
        self, identity: Floats, count: int, rng: np.random.Generator, *, truncation: float = 1.0
    ) -> Floats:
        """Appearances count×A that go with an identity (D)."""
        d = self.identity
        known, cross = self.covariance[:d, :d], self.covariance[d:, :d]
        # Identities lie on a sphere: one direction has hardly any variance.
        gain = np.linalg.solve(known + 1e-4 * np.eye(d), cross.T).T
        mean = self.mean[d:] + gain @ (identity - self.mean[:d])
        rest = self.covariance[d:, d:] - gain @ cross.T
        noise = rng.standard_normal((count, len(mean)))
        return (mean + truncation * noise @ _root(rest).T).astype(np.float32)

    def whitening(self) -> tuple[Floats, Floats, Floats]:
        """Mean (D+A), root and its inverse: code = mean + e @ root, with e a standard normal."""
        values, vectors = np.linalg.eigh((self.covariance + self.covariance.T) / 2)
        # Directions of hardly any variance would make the inverse explode.
        spread = np.sqrt(values.clip(1e-3 * values.max()))
        root, inverse = (vectors * spread).T, vectors / spread
        mean, root, inverse = (np.asarray(m, np.float32) for m in (self.mean, root, inverse))
        return mean, np.ascontiguousarray(root), np.ascontiguousarray(inverse)

    def save(self, path: Path) -> None:
        """An ``.npy`` array: the mean, then the rows of the covariance, float32."""
        np.save(path, np.concatenate([self.mean[None], self.covariance]).astype(np.float32))

    @classmethod
    def load(cls, path: Path, *, identity: int) -> LatentPrior:
        """What ``save`` wrote.

        Raises:
            DataError: the file is missing or is no prior.
        """
        try:
            array = read_array(path).astype(np.float64)
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the prior of the codes {path}: {error}") from error
        if array.ndim != 2 or array.shape[0] != array.shape[1] + 1 or array.shape[1] <= identity:
            raise DataError(f"{path} is not a prior of codes: its shape is {array.shape}")
        return cls(array[0], array[1:], identity)


def _root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """L with L·Lᵀ = covariance, also where rounding made it not quite positive."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root: NDArray[np.float64] = vectors * np.sqrt(values.clip(0))
    return root


def _on_sphere(identity: NDArray[np.float64]) -> Floats:
    length = np.linalg.norm(identity, axis=1, keepdims=True)
    scaled = identity / np.maximum(length, 1e-9) * identity.shape[1] ** 0.5
    return np.asarray(scaled, np.float32)
