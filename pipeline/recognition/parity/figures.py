"""What the gates measure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from facestream.engines.parity import Verdict
from numpy.typing import NDArray

from ...core.types import Floats
from ..uncertainty import normalise

Bounds = Mapping[str, float]


def verdict(figures: Mapping[str, float], least: Bounds) -> Verdict:
    """Refused is each figure that is below its bound, or is no number.

    Args:
        figures: by name.
        least: the bounds of some of them.
    """
    refused = tuple(
        f"{name} is {figures[name]:.6g}, not {bound:g} or more"
        for name, bound in least.items()
        if not figures[name] >= bound
    )
    return Verdict(figures, refused)


def cosines(a: Floats, b: Floats) -> Floats:
    """Of rows N×D with rows N×D; NaN where one of them has NaN."""
    found = np.einsum("nd,nd->n", *(normalise(rows).astype(np.float64) for rows in (a, b)))
    return np.asarray(found, np.float32)


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's rho of two lists of N numbers; equal numbers share the mean of their ranks.

    NaN where a list holds a NaN or nothing but one number.
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / length if length > 0 else float("nan")


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union N×M of boxes N×4 with boxes M×4."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle: NDArray[np.float64] = last - (counts - 1) / 2
    return middle[place]
