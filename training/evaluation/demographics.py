"""False matches and uncertainty by group of people: for whom does one threshold not hold?

Impostor pairs are taken within a group: two different people of one age group, gender or origin
are the hardest strangers. Intervals are bootstraps over pictures (or people), since a picture is
in many pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.uncertainty import normalise, sigma
from numpy.typing import NDArray

from ..data.face_sets import FaceRow
from .attributes import AGE_GROUPS, GENDERS, RACES, attributes_of
from .embeddings import EmbeddedRows
from .plots import new_figure, save_figure
from .protocol import Interval, percentiles

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
# Pictures of UTKFace have no names: pairs as similar as this (cosine) are taken for one person.
SAME_PERSON: Final = 0.7
# Smaller groups are left out.
FEWEST: Final = 20
_DRAWS: Final = 200
NOTES: Final = (
    "UTKFace names no people. Different pictures are taken for different people; pairs with a "
    f"cosine above {SAME_PERSON:g} are left out as the same person and counted, so that real false "
    "matches above it are left out, too, and repeats below it counted as false.",
    "UTKFace's pictures share a tight crop with repeated borders, which makes strangers look alike "
    "to the encoder (see the pairs unlike in age, gender and race): rates are higher than the same "
    "people would have elsewhere, and a cohort with UTKFace pictures takes that artefact away, "
    "too. Compare the groups, not the level.",
    "What normalisation costs these groups in missed matches is not measured: that needs several "
    "pictures of one person.",
    "Only pictures that were held out of training and are in no cohort are compared. Labels are "
    "the data set's own.",
)


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group of unnamed pictures.

    Attributes:
        attribute: ``all``, ``gender``, ``age``, ``race`` or ``gender × race``.
        group: its name; of ``all`` also the pairs unlike in all three.
        pictures: how many. pairs: impostor pairs within the group.
        dropped: pairs taken for one person.
        fmr_cosine: false-match rate of the cosine at its shipped threshold.
        fmr_normalised: of normalised similarities at theirs.
        sigma: 5th, 50th and 95th percentile.
    """

    attribute: str
    group: str
    pictures: int
    pairs: int
    dropped: int
    fmr_cosine: Interval
    fmr_normalised: Interval
    sigma: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class NamedRow:
    """Held-out people with names, by one way of scoring.

    Attributes:
        scoring: ``cosine`` or ``normalised``.
        people, genuine, impostor: how many people and pairs.
        tmr: share of the genuine pairs that match at the shipped threshold.
        fmr: share of the impostor pairs that do.
    """

    scoring: str
    people: int
    genuine: int
    impostor: int
    tmr: Interval
    fmr: Interval


@dataclass(frozen=True, slots=True)
class Limits:
    """The shipped thresholds.

    Attributes:
        cosine: of the encoder's card.
        normalised: of the cohort's.
    """

    cosine: float
    normalised: float


def measure_groups(found: EmbeddedRows, cohort: Cohort, limits: Limits) -> list[GroupRow]:
    """Rates within each group of unnamed pictures; small ones are left out."""
    cosine, matches = _matches(found, cohort, limits)
    same = cosine > SAME_PERSON
    spread = sigma(found.logvar)
    rows = []
    for attribute, group, chosen, inside in _groups(found.rows):
        if len(chosen) < FEWEST:
            continue
        within = np.ix_(chosen, chosen)
        wanted = np.triu(inside[within], 1)
        pairs = wanted & ~same[within]
        numbers = np.arange(len(chosen))
        low, middle, high = np.percentile(spread[chosen], (5, 50, 95))
        rows.append(
            GroupRow(
                attribute=attribute,
                group=group,
                pictures=len(chosen),
                pairs=int(pairs.sum()),
                dropped=int((wanted & same[within]).sum()),
                fmr_cosine=pair_rate(matches["cosine"][within], pairs, numbers),
                fmr_normalised=pair_rate(matches["normalised"][within], pairs, numbers),
                sigma=(float(low), float(middle), float(high)),
            )
        )
    return rows


def measure_named(found: EmbeddedRows, cohort: Cohort, limits: Limits) -> list[NamedRow]:
    """Genuine and impostor pairs of people with names."""
    _, matches = _matches(found, cohort, limits)
    person = np.unique([row.identity or "" for row in found.rows], return_inverse=True)[1]
    one = person[:, None] == person[None]
    genuine, impostor = np.triu(one, 1), np.triu(~one, 1)
    return [
        NamedRow(
            scoring=scoring,
            people=int(person.max()) + 1,
            genuine=int(genuine.sum()),
            impostor=int(impostor.sum()),
            tmr=pair_rate(match, genuine, person),
            fmr=pair_rate(match, impostor, person),
        )
        for scoring, match in matches.items()
    ]


def _matches(
    found: EmbeddedRows, cohort: Cohort, limits: Limits
) -> tuple[Floats, dict[str, Flags]]:
    """Cosines of all pairs, N×N, and which pairs match by either way of scoring."""
    unit = normalise(found.mu)
    cosine, means = np.asarray(unit @ unit.T), cohort.means(unit)
    return cosine, {
        "cosine": cosine >= limits.cosine,
        "normalised": cohort.normalised(cosine, means[:, None], means) >= limits.normalised,
    }


def pair_rate(match: Flags, pairs: Flags, unit: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Share of pairs that match, with a 95 % interval by bootstrap over what they are made of.

    Args:
        match: N×N, True where two pictures match.
        pairs: N×N, True for each pair that counts, once.
        unit: N, what is drawn: the picture's own number, or its person's.
    """
    if not pairs.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    hits = (match & pairs).astype(np.float32)
    there = pairs.astype(np.float32)
    rng = np.random.default_rng(seed)
    count = int(unit.max()) + 1
    # A row of weights a draw: how often each picture was drawn.
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=_DRAWS)[:, unit]
    weights = drawn.astype(np.float32)
    hit = ((weights @ hits) * weights).sum(axis=1, dtype=np.float64)
    total = ((weights @ there) * weights).sum(axis=1, dtype=np.float64)
    rates = hit[total > 0] / total[total > 0]
    return percentiles(hits.sum(dtype=np.float64) / pairs.sum(), rates)


def _groups(rows: Sequence[FaceRow]) -> list[tuple[str, str, NDArray[np.int64], Flags]]:
    """Attribute, group, its pictures, and which pairs of all pictures count."""
    labels = [attributes_of(row) for row in rows]
    gender = np.array([label.gender or "" for label in labels])
    age = np.array([label.age or "" for label in labels])
    race = np.array([label.race or "" for label in labels])
    both = np.array([f"{r}, {g}" if r and g else "" for g, r in zip(gender, race, strict=True)])
    all_pairs = np.ones((len(rows), len(rows)), bool)
    apart = np.logical_and.reduce([v[:, None] != v[None] for v in (gender, age, race)])
    everybody = np.arange(len(rows))
    found = [
        ("all", "all", everybody, all_pairs),
        ("all", "pairs unlike in all three", everybody, apart),
    ]
    for attribute, names, values in (
        ("gender", GENDERS, gender),
        ("age", AGE_GROUPS, age),
        ("race", RACES, race),
        ("gender × race", [f"{r}, {g}" for g in GENDERS for r in RACES], both),
    ):
        found += [(attribute, n, np.flatnonzero(values == n), all_pairs) for n in names]
    return found


def summary(groups: Sequence[GroupRow], named: Sequence[NamedRow]) -> list[str]:
    """The figures in sentences, for people and for the model card."""
    lines = []
    for attribute in ("age", "race", "gender"):
        rows = [row for row in groups if row.attribute == attribute]
        if len(rows) < 2:
            continue
        for name in ("cosine", "normalised"):
            rates = [
                (row.fmr_cosine if name == "cosine" else row.fmr_normalised).value for row in rows
            ]
            most, least = int(np.argmax(rates)), int(np.argmin(rates))
            ratio = f"{rates[most] / rates[least]:.1f} times" if rates[least] > 0 else "none for"
            lines.append(
                f"{name}, by {attribute}: false matches within a group are most frequent for "
                f"{rows[most].group} ({rates[most]:.2%}), {ratio} {rows[least].group} "
                f"({rates[least]:.2%})"
            )
    lines += [
        f"held-out CelebA people, {row.scoring}: {row.tmr.value:.1%} of {row.genuine:,} genuine "
        f"pairs and {row.fmr.value:.2%} of {row.impostor:,} impostor pairs match"
        for row in named
    ]
    return [*lines, *NOTES]


def save_plot(groups: Sequence[GroupRow], path: Path) -> None:
    """False-match rate and sigma of each group, as PNG."""
    figure = new_figure(11, 1 + 0.28 * len(groups))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(groups))
    sides = (
        (-0.15, "cosine", [row.fmr_cosine for row in groups]),
        (0.15, "normalised", [row.fmr_normalised for row in groups]),
    )
    for shift, name, rates in sides:
        values = np.array([rate.value for rate in rates])
        errors = [
            np.maximum(values - [rate.low for rate in rates], 0),
            np.maximum([rate.high for rate in rates] - values, 0),
        ]
        left.errorbar(values, places + shift, xerr=errors, fmt="o", ms=4, label=name)
    left.axvline(1e-3, color="k", lw=1, ls="--")
    left.set_xscale("symlog", linthresh=1e-4)
    left.set(xlabel="false-match rate within the group (dashed: nominal)", xlim=(0, 1))
    left.set_yticks(places, [f"{row.group} ({row.pictures})" for row in groups])
    left.invert_yaxis()
    left.legend()
    middle = np.array([row.sigma[1] for row in groups])
    ends = [middle - [r.sigma[0] for r in groups], [r.sigma[2] for r in groups] - middle]
    right.errorbar(middle, places, xerr=ends, fmt="s", ms=4)
    right.set(xlabel="sigma (5, 50, 95 %)")
    save_figure(figure, path)
