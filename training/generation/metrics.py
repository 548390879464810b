"""How good made pictures are: likeness of pixels, of structure, of identity, of distributions."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import sqrtm
from skimage.metrics import structural_similarity

from ..evaluation.protocol import Interval, percentiles

Picture = NDArray[np.uint8]
# What two equal pictures get: their error is 0, and its logarithm has no value.
BEST_PSNR: Final = 100.0


def psnr(a: Picture, b: Picture, *, where: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio, dB: 10·log10(255² / mean squared error), at most 100.

    Args:
        a: H×W×3 uint8. b: the same.
        where: H×W, the pixels that count; all when not given.

    Raises:
        ValueError: pictures of different shapes, or no pixel counts.
    """
    _check(a, b, where)
    squared = (a.astype(np.float64) - b.astype(np.float64)) ** 2
    if where is not None:
        squared = squared[where]
    error = float(squared.mean())
    return BEST_PSNR if error == 0 else min(BEST_PSNR, 10 * float(np.log10(255.0**2 / error)))


def ssim(a: Picture, b: Picture, *, where: NDArray[np.bool_] | None = None) -> float:
    """Structural similarity, −1..1, over the colour channels (Wang et al. 2004).

    Gaussian windows of 1.5 px and population covariances, as in the paper.

    Args:
        a: H×W×3 uint8. b: the same.
        where: H×W, the pixels over which the map of similarity is averaged; all when not given.

    Raises:
        ValueError: pictures of different shapes, or no pixel counts.
    """
    _check(a, b, where)
    mean, full = structural_similarity(  # type: ignore[no-untyped-call]
        a,
        b,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean) if where is None else float(full[where].mean())


def _check(a: Picture, b: Picture, where: NDArray[np.bool_] | None) -> None:
    if a.shape != b.shape:
        raise ValueError(f"pictures of {a.shape} and {b.shape} cannot be compared")
    if where is not None and not where.any():
        raise ValueError("no pixel counts")


def identity_cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosine of each pair of embeddings, N.

    Args:
        a: N×D, of any length. b: the same.
    """
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12), np.float32)


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Fréchet distance of two sets of features, each taken as a Gaussian (Heusel et al. 2017).

    |mean_a − mean_b|² + tr(cov_a + cov_b − 2·(cov_a·cov_b)^½). It depends on the number of
    pictures: compare only sets of the same size, and with the distance between two halves of
    real pictures.

    Args:
        a: N×D. b: M×D; N and M should be several times D.

    Raises:
        ValueError: fewer than two pictures, or another D.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features must be N×D and M×D with N, M ≥ 2, not {a.shape}, {b.shape}")
    a, b = a.astype(np.float64), b.astype(np.float64)
    shift = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The root of the symmetric form has the same trace, and no imaginary rounding errors.
    root = np.real(sqrtm(cov_a))
    middle = np.linalg.eigvalsh(root @ cov_b @ root)
    mixed = float(np.sqrt(np.clip(middle, 0, None)).sum())
    return max(0.0, float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * mixed))


def interval(values: ArrayLike, *, draws: int = 1000, seed: int = 0) -> Interval:
    """Mean and its 95 % bootstrap interval."""
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, len(array), (draws, len(array)))].mean(axis=1)
    return percentiles(array.mean(), means)
