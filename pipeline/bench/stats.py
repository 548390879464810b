"""Figures of a few rounds: the median, how far they spread, and ratios taken round by round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Where one round says nothing of its own spread: single figures of a shared machine vary by a
# quarter (benchmarks/RESULTS.md).
UNKNOWN_SPREAD = 0.25

# No difference below this is called one, however close the rounds lie together: processes of the
# same program differ by that much through where their memory lies.
LEAST_NOISE = 0.03


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the rounds' ratios, and the lowest and highest of them."""

    median: float
    low: float
    high: float


def spread(rounds: Sequence[float]) -> float | None:
    """(highest − lowest) / median; None of fewer than two rounds, which say nothing of it."""
    if len(rounds) < 2:
        return None
    return (max(rounds) - min(rounds)) / statistics.median(rounds)


def ratio(reference: Sequence[float], own: Sequence[float]) -> Ratio:
    """How many times larger ``reference`` is than ``own``, round by round.

    The machine's speed drifts, so only figures of the same round are compared.

    Raises:
        ValueError: not as many rounds of both, none at all, or one of ``own`` is not above 0.
    """
    if len(reference) != len(own) or not own:
        raise ValueError(f"{len(reference)} rounds do not pair with {len(own)}")
    if min(own) <= 0:
        raise ValueError("a rate must be above 0")
    ratios = [a / b for a, b in zip(reference, own, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def noise(old: Sequence[float], new: Sequence[float]) -> float:
    """The relative difference of two medians that the rounds' own spread explains.

    Both spreads (highest − lowest over median) added as independent errors, at least
    `LEAST_NOISE`; a single round counts with `UNKNOWN_SPREAD`.
    """
    wide = [UNKNOWN_SPREAD if (own := spread(rounds)) is None else own for rounds in (old, new)]
    return max(LEAST_NOISE, math.hypot(*wide))
