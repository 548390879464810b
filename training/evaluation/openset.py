"""Open-set identification on LFW: one picture a person enrolled, strangers never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """Who is enrolled, and the probes.

    Attributes:
        gallery: G pictures: the first of each person who has several.
        probes: N pictures: those people's others, and all of people with only one.
        truth: N, the probe's place in ``gallery``, −1 for a stranger.
        person: N, whose each probe is.
    """

    gallery: Indices
    probes: Indices
    truth: Indices
    person: Indices


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
