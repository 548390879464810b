"""IDF1, names and times, against examples worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from facestream.training.evaluation.mot import (
    IdCounts,
    Named,
    Reported,
    id_counts,
    match_boxes,
    score,
    total,
)
from facestream.training.evaluation.scene_truth import Truth
from hypothesis import given
from hypothesis import strategies as st

Box = tuple[float, float, float, float]
LEFT: Box = (0.0, 0.0, 10.0, 10.0)
RIGHT: Box = (50.0, 0.0, 60.0, 10.0)
ELSEWHERE: Box = (100.0, 0.0, 110.0, 10.0)


def truth(
    *, frames: int = 10, names: tuple[str, ...] = ("ann", "bob"), visible: float = 1.0
) -> Truth:
    """Ann (enrolled) on the left and Bob (a stranger) on the right in every frame."""
    passages = range(len(names))
    return Truth(
        fps=10.0,
        frames=frames,
        size=(200, 100),
        names=names,
        enrolled=tuple(name == "ann" for name in names),
        frame=np.repeat(np.arange(frames), len(names)),
        passage=np.tile(np.array(passages), frames),
        boxes=np.array([[LEFT, RIGHT][p] for _ in range(frames) for p in passages], np.float32),
        visible=np.full(frames * len(names), visible, np.float32),
    )


def seen(frames: range, box: Box, track: int, name: str | None = None) -> list[Reported]:
    return [Reported(frame, box, track, name) for frame in frames]


def test_perfect() -> None:
    found = score(truth(), seen(range(10), LEFT, 1, "ann") + seen(range(10), RIGHT, 2))
    assert found.tracks == IdCounts(20, 0, 0)
    assert found.names == IdCounts(10, 0, 0)
    assert (found.named_right, found.named_wrong, found.named_strangers) == (10, 0, 0)
    assert (found.passages, found.passages_named, found.switches) == (1, 1, 0)


def test_a_track_that_breaks() -> None:
    """Ann is track 1 for 6 frames and track 3 for 4: the longer one is hers, IDTP = 6 + 10."""
    found = score(
        truth(), seen(range(6), LEFT, 1) + seen(range(6, 10), LEFT, 3) + seen(range(10), RIGHT, 2)
    )
    assert found.tracks == IdCounts(right=16, false=4, missed=4)
    assert found.tracks.idf1 == pytest.approx(2 * 16 / (2 * 16 + 4 + 4))
    assert found.switches == 1


def test_tracks_that_swap() -> None:
    """1 and 2 change places after 7 of 10 frames: 14 of 20 agree, and each passage switches."""
    found = score(
        truth(),
        seen(range(7), LEFT, 1)
        + seen(range(7, 10), LEFT, 2)
        + seen(range(7), RIGHT, 2)
        + seen(range(7, 10), RIGHT, 1),
    )
    assert found.tracks == IdCounts(right=14, false=6, missed=6)
    assert found.switches == 2


def test_names_right_wrong_missing_and_of_strangers() -> None:
    """Ann: 2 frames unknown, 5 right, 1 wrong, 2 not found. Bob: 3 named. Elsewhere: 1 named."""
    found = score(
        truth(),
        seen(range(2), LEFT, 1)
        + seen(range(2, 7), LEFT, 1, "ann")
        + seen(range(7, 8), LEFT, 1, "cid")
        + seen(range(3), RIGHT, 2, "ann")
        + seen(range(1), ELSEWHERE, 3, "ann"),
    )
    assert found.names == IdCounts(right=5, false=1 + 3 + 1, missed=5)
    assert (found.enrolled_frames, found.named_right, found.named_wrong) == (10, 5, 1)
    assert (found.stranger_frames, found.named_strangers) == (10, 3)
    assert (found.passages_named, found.stranger_passages_named) == (1, 1)


def test_hidden_faces_neither_help_nor_harm() -> None:
    hidden = truth(visible=0.3)
    for reported in ([], seen(range(10), LEFT, 1, "cid")):
        found = score(hidden, reported)
        assert found.tracks == found.names == IdCounts(0, 0, 0)
        assert found.passages == 0


def test_only_the_frames_asked_for_count() -> None:
    reported = seen(range(0, 10, 5), LEFT, 1, "ann")
    assert score(truth(names=("ann",)), reported, frames=range(0, 10, 5)).names == IdCounts(2, 0, 0)


def test_time_to_name_counts_from_full_view() -> None:
    """In full view from frame 4 on (0.4 s); wrong at 0.5 s, right at 0.9 s."""
    scene = truth(names=("ann",))
    scene = replace(scene, visible=np.where(scene.frame < 4, 0.7, 1.0).astype(np.float32))
    named = [
        Named(9, LEFT, "ann", 0.9),
        Named(5, LEFT, "cid", 0.5),
        Named(8, ELSEWHERE, "ann", 0.8),
    ]
    assert score(scene, [], named).times == pytest.approx((0.5,))
    assert score(scene, [], [Named(2, LEFT, "ann", 0.2)]).times == (0.0,)


def test_totals_add_counts_before_shares() -> None:
    good = score(truth(), seen(range(10), LEFT, 1, "ann"), [Named(3, LEFT, "ann", 0.3)])
    bad = score(truth(frames=30), [])
    table = total([good, bad])
    assert table["named_right"] == pytest.approx(10 / 40)
    assert table["idf1_names"] == pytest.approx(2 * 10 / (2 * 10 + 30))
    assert table["idf1_tracks"] == pytest.approx(2 * 10 / (2 * 10 + 70))
    assert table["time_to_name_p50"] == pytest.approx(0.3)
    assert (table["sightings"], table["sightings_named_right"]) == (2, 0.5)


def test_boxes_are_matched_by_overlap_in_all() -> None:
    """The first report overlaps both faces; greedily it would take the wrong one."""
    faces = np.array([[0, 0, 10, 10], [3, 0, 13, 10]], np.float32)
    reported = [(2.0, 0.0, 12.0, 10.0), (6.0, 0.0, 16.0, 10.0)]
    assert sorted(match_boxes(faces, reported)) == [(0, 0), (1, 1)]
    assert match_boxes(faces, [ELSEWHERE]) == []


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_assignment_is_the_best_of_all(rows: list[list[int]]) -> None:
    """Against trying every way of giving tracks to true ways."""
    from itertools import permutations

    table = np.array(rows, np.int64)
    ways = range(len(rows))
    best = max(
        sum(int(table[way, track]) for way, track in zip(ways, order, strict=False) if track < 3)
        for order in permutations(range(3 + len(rows)), len(rows))
    )
    counts = id_counts(table, table.sum(axis=1), table.sum(axis=0))
    assert counts.right == best
    assert counts.right + counts.missed == counts.right + counts.false == table.sum()
