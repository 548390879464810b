"""What comes often, and what is forgotten."""

from __future__ import annotations

from facestream.engines.often import OFTEN, Often
from hypothesis import given
from hypothesis import strategies as st


def test_what_comes_often_is_told_from_then_on_until_it_is_forgotten() -> None:
    often = Often(4)
    told = [often.seen("a") for _ in range(OFTEN + 2)]
    assert told == [False] * (OFTEN - 1) + [True] * 3
    often.forget("a")
    often.forget("never seen")
    assert not often.seen("a")


@given(st.lists(st.integers(0, 9), max_size=300), st.integers(1, 6))
def test_only_what_came_lately_counts(things: list[int], keep: int) -> None:
    often = Often(keep)
    for turn, thing in enumerate(things):
        lately: list[int] = []  # different things, the latest first
        for other in reversed(things[:turn]):
            if other not in lately:
                lately.append(other)
        if thing not in lately[:keep]:
            assert not often.seen(thing)
        elif often.seen(thing):
            assert things[: turn + 1].count(thing) >= OFTEN
