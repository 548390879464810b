"""Open-set identification rates, with intervals over people and paired differences of methods.

TPIR: share of the enrolled people's probes whose best match is the right person and lies above
the threshold. FPIR: share of the strangers' probes whose best match does. After ISO/IEC 19795-1
and NIST's FRVT identification reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .protocol import Floats, Interval, percentiles

# The score of a probe that could not be compared at all: no face was found.
NO_SCORE = -1e9


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What the best match of each of N probes was.

    Attributes:
        score: N, of the best match; ``NO_SCORE`` where there is none.
        right: N, True where the best match is the probe's person.
        mated: N, True where the probe's person is enrolled.
    """

    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    mated: NDArray[np.bool_]


def outcomes(scores: Floats, truth: NDArray[np.int64]) -> Outcomes:
    """The best matches.

    Args:
        scores: N×G, higher is more similar; a row of NaN for a probe without a face.
        truth: N, the probe's person among the G, −1 for a stranger.

    Raises:
        ValueError: shapes that do not fit, or nobody enrolled.
    """
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or table.shape[1] == 0 or truth.shape != table.shape[:1]:
        raise ValueError(
            f"scores must be N×G with G ≥ 1 and truth N, not {table.shape} and {truth.shape}"
        )
    blank = np.asarray(np.isnan(table).any(axis=1), np.bool_)
    table = np.where(blank[:, None], NO_SCORE, table)
    return Outcomes(
        score=table.max(axis=1), right=(table.argmax(axis=1) == truth) & ~blank, mated=truth >= 0
    )


def rank_one(found: Outcomes) -> float:
    """Share of mated probes whose best match is right, whatever its score."""
    return float(found.right[found.mated].mean())


def tpir(found: Outcomes, fpir: float) -> tuple[float, float]:
    """TPIR, and the threshold above which at most this share of the strangers lies.

    The threshold is the best match of the first stranger refused, and a probe must exceed it: a
    tie counts against us.

    Raises:
        ValueError: too few strangers for the rate, or no mated probe.
    """
    mated = found.mated
    if not mated.any():
        raise ValueError("no probe is of an enrolled person")
    threshold = _threshold(found.score[~mated], fpir)
    named = found.right[mated] & (found.score[mated] > threshold)
    return float(named.mean()), threshold


def _threshold(strangers: NDArray[np.float64], fpir: float) -> float:
    count = int(np.floor(fpir * len(strangers) + 1e-9))
    if count < 1 or count >= len(strangers):
        raise ValueError(f"{len(strangers)} strangers cannot tell a rate of {fpir}")
    place = len(strangers) - count - 1
    return float(np.partition(strangers, place)[place])


def curve(found: Outcomes, rates: Sequence[float]) -> list[float]:
    """TPIR at each of several FPIR."""
    return [tpir(found, rate)[0] for rate in rates]


@dataclass(frozen=True, slots=True, eq=False)
class Bootstrap:
    """Figures of K methods under R resamples of the people.

    Attributes:
        tpir: R×K.
        rank_one: R×K.
    """

    tpir: NDArray[np.float64]
    rank_one: NDArray[np.float64]

    def interval(self, value: float, method: int) -> Interval:
        """A method's TPIR with its 95 % interval (percentiles)."""
        return percentiles(value, self.tpir[:, method])

    def rank_interval(self, value: float, method: int) -> Interval:
        """A method's rank-1 rate with its 95 % interval."""
        return percentiles(value, self.rank_one[:, method])

    def difference(self, value: float, method: int, base: int) -> Interval:
        """How much a method's TPIR exceeds another's, on the same people in each resample."""
        return percentiles(value, self.tpir[:, method] - self.tpir[:, base])


def bootstrap(
    methods: Sequence[Outcomes],
    people: NDArray[np.int64],
    *,
    fpir: float,
    draws: int = 1000,
    seed: int = 0,
) -> Bootstrap:
    """Resample people, mated and strangers apart; the threshold is found anew each time.

    Args:
        methods: K, of the same N probes.
        people: N, whose each probe is; a person's probes stay together.
        fpir: for the threshold.
        draws: resamples.

    Raises:
        ValueError: as for ``tpir``.
    """
    rng = np.random.default_rng(seed)
    mated = methods[0].mated
    known, strange = (np.unique(people[side]) for side in (mated, ~mated))
    size = int(people.max()) + 1
    tpirs = np.empty((draws, len(methods)))
    ranks = np.empty_like(tpirs)
    for draw in range(draws):
        times = np.bincount(rng.choice(known, len(known)), minlength=size)
        times += np.bincount(rng.choice(strange, len(strange)), minlength=size)
        rows = np.repeat(np.arange(len(people)), times[people])
        for k, found in enumerate(methods):
            drawn = Outcomes(found.score[rows], found.right[rows], found.mated[rows])
            tpirs[draw, k] = tpir(drawn, fpir)[0]
            ranks[draw, k] = rank_one(drawn)
    return Bootstrap(tpirs, ranks)


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """Who of LFW is enrolled, and the probes.

    Attributes:
        gallery: G pictures: the first of each person who has several.
        probes: N pictures: those people's others, and all of people with only one.
        truth: N, the probe's place in ``gallery``, −1 for a stranger.
        person: N, whose each probe is.
    """

    gallery: NDArray[np.int64]
    probes: NDArray[np.int64]
    truth: NDArray[np.int64]
    person: NDArray[np.int64]


def split_open_set(people: Sequence[str]) -> OpenSet:
    """Enrol the first picture of everybody who has several; the others are strangers.

    Args:
        people: the person of each picture.
    """
    _, first, person, count = np.unique(
        np.asarray(people), return_index=True, return_inverse=True, return_counts=True
    )
    enrolled = np.flatnonzero(count >= 2)
    gallery = first[enrolled]
    place = np.full(len(count), -1)
    place[enrolled] = np.arange(len(enrolled))
    probes = np.setdiff1d(np.arange(len(person)), gallery)
    return OpenSet(
        gallery=gallery,
        probes=probes,
        truth=place[person[probes]],
        person=person[probes].astype(np.int64),
    )
