"""Who a face is decides what is covered; what is not certain is covered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core.errors import ConfigError
from facestream.pipeline.redaction import RedactionChoice
from facestream.pipeline.redaction.lines import Line, parts_of, touching
from facestream.pipeline.redaction.naming import mark_rivals
from facestream.pipeline.redaction.plan import Plan
from facestream.pipeline.redaction.search import VideoFaces

ADA = frozenset({"Ada"})


@pytest.mark.parametrize(
    ("choice", "covered"),
    [
        # Ada, Bob, a stranger, an unsure face, an unsure face of a track that was Ada's
        (RedactionChoice(), [True, True, True, True, True]),
        (RedactionChoice(keep=ADA), [False, True, True, True, True]),
        (RedactionChoice(only=ADA), [True, False, False, True, True]),
        (RedactionChoice(only=ADA, show_unsure=True), [True, False, False, False, True]),
        (RedactionChoice(unknown=True), [False, False, True, True, True]),
        (RedactionChoice(only=ADA, unknown=True), [True, False, True, True, True]),
    ],
)
def test_what_is_not_certain_is_covered(choice: RedactionChoice, covered: list[bool]) -> None:
    faces: list[tuple[str | None, Any, list[str]]] = [
        ("Ada", "known", ["Ada"]),
        ("Bob", "known", ["Bob"]),
        (None, "stranger", []),
        (None, "unsure", []),
        (None, "unsure", ["Ada"]),
    ]
    assert [choice.covers(n, v, followed_as=names) for n, v, names in faces] == covered


def test_contradicting_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match="--keep"):
        RedactionChoice(keep=ADA, unknown=True)
    with pytest.raises(ConfigError, match="unsure"):
        RedactionChoice(show_unsure=True)


def line(number: int, lefts: Sequence[float | None], *, top: float = 100) -> Line:
    """Found where it has a place, 40 pixels wide."""
    made = Line(number)
    for frame, left in enumerate(lefts):
        if left is not None:
            made.add(frame, np.array([left, top, left + 40, top + 50], np.float32))
    return made


def test_a_line_is_cut_where_two_faces_touch_and_after_a_long_gap() -> None:
    passing = line(1, [10 * frame for frame in range(20)])
    standing = line(2, [100.0] * 20)
    touches = touching([passing, standing])
    assert touches[1] == touches[2] == set(range(7, 14))
    parts = parts_of(passing, touches[1], longest_gap=5)
    assert [(part.frames, part.certain) for part in parts] == [
        ((0, 6), True),
        ((7, 13), False),
        ((14, 19), True),
    ]
    lost = line(3, [0.0, 1, 2, *[None] * 8, 11, 12])
    assert [part.frames for part in parts_of(lost, set(), longest_gap=5)] == [(0, 10), (11, 12)]
    assert [part.frames for part in parts_of(lost, set(), longest_gap=9)] == [(0, 12)]


def test_a_gap_is_bridged_and_ends_go_on() -> None:
    one = line(1, [0.0, 10, 20, None, None, None, 60])
    assert one.gap == 3
    assert one.boxes[4].tolist() == [40, 100, 80, 150]
    one.hold(first=0, last=9, period=0.1)
    assert sorted(one.boxes) == list(range(10))
    assert one.boxes[9][0] < 95  # goes on to the right, and grows
    assert one.boxes[9][2] > 120


def named(one: Line, name: str | None, similarity: float) -> Any:
    part = parts_of(one, set(), longest_gap=9)[0]
    part.name, part.similarity = name, similarity
    part.verdict, part.reason = ("known", None) if name else ("stranger", "below_threshold")
    return part


def test_a_person_is_shown_once_and_pictures_that_contradict_are_covered() -> None:
    first, second = line(1, [0.0] * 10), line(2, [300.0] * 10)
    parts = [named(first, "Ada", 0.5), named(second, "Ada", 0.8)]
    mark_rivals(parts)
    assert [part.name for part in parts] == [None, "Ada"]
    assert parts[0].reason == "taken"
    parts[1].disagreeing = [(4, 6)]
    found = VideoFaces((400, 300), [0.1 * n for n in range(10)], [first, second])
    plan = Plan(found, parts, RedactionChoice(keep=ADA), margin=1.5)
    assert plan.covered[first] == set(range(10))
    assert plan.covered[second] == {4, 5, 6}
    only = Plan(found, parts, RedactionChoice(only=ADA), margin=1.5)
    assert only.covered[second] == set(range(10))
