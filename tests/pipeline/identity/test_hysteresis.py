"""The decision with names already given: a real optimum, and no flicker."""

from __future__ import annotations

import itertools

import numpy as np
from facestream.pipeline.core.types import Matches
from facestream.pipeline.identity import decision
from facestream.pipeline.identity.decision import Holders, Thresholds, decide_frame
from hypothesis import given, settings
from hypothesis import strategies as st

RULES = Thresholds(similarity=0.5, margin=0.0)
RELEASE = 0.1


def matches(rows: list[list[float]]) -> Matches:
    """Faces by people: everybody is compared with everybody."""
    similar = np.array(rows, np.float32)
    order = np.argsort(-similar, axis=1, kind="stable")
    names = tuple(tuple(f"p{i}" for i in row) for row in order)
    return Matches(np.take_along_axis(similar, order, 1), order.astype(np.int64), names)


def given_names(
    rows: list[list[float]], held: list[int | None], rule: Thresholds = RULES
) -> list[int | None]:
    found = decide_frame(matches(rows), rule, holders=Holders(held, RELEASE))
    return [identity.person_id for identity in found]


def test_a_holder_keeps_a_name_a_little_below_the_threshold() -> None:
    assert given_names([[0.45, 0.0]], [0]) == [0]
    assert given_names([[0.45, 0.0]], [None]) == [None]
    assert given_names([[0.39, 0.0]], [0]) == [None]


def test_another_takes_a_name_over_only_by_the_release() -> None:
    assert given_names([[0.6], [0.65]], [0, None]) == [0, None]
    assert given_names([[0.6], [0.72]], [0, None]) == [None, 0]


def test_a_holder_is_not_ambiguous_before_the_release_is_used_up() -> None:
    rule = Thresholds(similarity=0.5, margin=0.05)
    assert given_names([[0.60, 0.62]], [None], rule) == [None]
    assert given_names([[0.60, 0.62]], [0], rule) == [0]
    assert given_names([[0.60, 0.80]], [0], rule) == [1]


def test_what_is_reported_is_the_plain_similarity() -> None:
    (identity,) = decide_frame(matches([[0.45, 0.1]]), RULES, holders=Holders([0], RELEASE))
    assert identity.similarity == np.float32(0.45)


similarities = st.integers(30, 90).map(lambda value: value / 100)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 3).flatmap(
        lambda people: st.lists(
            st.lists(similarities, min_size=people, max_size=people, unique=True),
            min_size=1,
            max_size=4,
        )
    ),
    holder=st.integers(0, 5),
)
def test_the_assignment_is_an_optimum(rows: list[list[float]], holder: int) -> None:
    """Against all ways to give the people away, the bonus of the holder included."""
    people = len(rows[0])
    held: list[int | None] = [None] * len(rows)
    if holder < len(rows):
        held[holder] = 0
    wide = Thresholds(similarity=0.5, margin=2.0)  # everybody similar enough is a claim
    worth = [
        [s + RELEASE * (held[i] == p) - 0.5 for p, s in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    best = max(
        sum(worth[i][p] for i, p in zip(chosen, to, strict=True) if worth[i][p] > 0)
        for count in range(min(people, len(rows)) + 1)
        for chosen in itertools.combinations(range(len(rows)), count)
        for to in itertools.permutations(range(people), count)
    )
    claims = [decision._claims(matches(rows), i, wide, held[i], RELEASE) for i in range(len(rows))]
    found = decision._assign(claims, wide)
    assert len(set(found.values())) == len(found)
    assert abs(sum(worth[i][p] for i, p in found.items()) - best) < 1e-4
