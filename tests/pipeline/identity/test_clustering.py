"""Links make groups; what is doubtful bridges none."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.identity import neighbours
from facestream.pipeline.identity.clustering import Joined, Links, join, simultaneous
from facestream.pipeline.identity.neighbours import Neighbours


def joined(
    links: list[tuple[int, int, float]],
    *,
    new: int,
    stored: list[int] | None = None,
    unclear: tuple[int, ...] = (),
    apart: tuple[tuple[int, int], ...] = (),
) -> Joined:
    """Faces from ``new`` on are stored, in the groups ``stored``; links are given once."""
    groups = np.array(stored or [], np.int64)
    both = links + [(b, a, s) for a, b, s in links if b < new]
    core = np.ones(new + len(groups), bool)
    core[list(unclear)] = False
    a, b, similarity = zip(*both, strict=True) if both else ((), (), ())
    return join(
        Links(np.array(a, np.int64), np.array(b, np.int64), np.array(similarity, np.float32)),
        core,
        groups,
        np.bincount(groups, minlength=0).astype(np.int64),
        apart=lambda one, other: (one, other) in apart or (other, one) in apart,
    )


def test_faces_without_links_are_alone() -> None:
    assert sorted(joined([], new=3).group.tolist()) == [-3, -2, -1]
    assert joined([], new=0, stored=[0]).group.tolist() == []


def test_a_link_needs_a_third_face_except_between_two() -> None:
    triangle = [(0, 1, 0.8), (1, 2, 0.8), (0, 2, 0.8)]
    pair = [(3, 4, 0.7)]
    assert joined([*triangle, *pair], new=5).group.tolist() == [-1, -1, -1, -2, -2]
    # One link between the two bridges nothing.
    bridged = joined([*triangle, (3, 4, 0.7), (4, 5, 0.7), (3, 5, 0.7), (2, 3, 0.9)], new=6)
    assert bridged.group.tolist() == [-1, -1, -1, -2, -2, -2]


def test_an_unclear_face_goes_to_its_most_similar_and_joins_nothing() -> None:
    triangles = [(0, 1, 0.8), (1, 2, 0.8), (0, 2, 0.8), (3, 4, 0.8), (4, 5, 0.8), (3, 5, 0.8)]
    unclear = [(0, 6, 0.6), (1, 6, 0.6), (3, 6, 0.7), (4, 6, 0.7)]
    found = joined([*triangles, *unclear], new=7, unclear=(6,))
    assert found.group.tolist() == [-1, -1, -1, -2, -2, -2, -2]
    assert joined([(0, 1, 0.9)], new=2, unclear=(0, 1)).group.tolist() == [-1, -2]


def test_new_faces_join_stored_groups_which_may_become_one() -> None:
    stored = [0, 0, 1, 1, 1]  # the faces 2 to 6
    found = joined([(0, 2, 0.8), (0, 3, 0.8)], new=2, stored=stored)
    assert found.group.tolist() == [0, -1]
    assert found.merged == {}
    links = [(0, 2, 0.8), (0, 3, 0.8), (0, 4, 0.7), (0, 5, 0.7)]
    found = joined(links, new=2, stored=stored)
    assert (found.group.tolist(), found.merged) == ([1, -1], {0: 1})
    found = joined(links, new=2, stored=stored, apart=((0, 1),))
    assert (found.group.tolist(), found.merged) == ([0, -1], {})
    # A stored face that was alone.
    found = joined([(0, 2, 0.8)], new=2, stored=[0])
    assert found.group.tolist() == [0, -1]


def test_simultaneous() -> None:
    start, end = np.array([0.0, 10.0]), np.array([5.0, 20.0])
    assert simultaneous(start, end, (4.0, 6.0))
    assert not simultaneous(start, end, (5.0, 10.0))
    assert simultaneous(np.array([3.0]), np.array([3.0]), (3.0, 3.0))  # two faces of a photo
    assert not simultaneous(start[:0], end[:0], (0.0, 1.0))


def test_neighbours_by_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    unit = chance.normal(size=(6000, 16)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    exact = Neighbours(16)
    assert exact.search(unit[:2], 3)[1].tolist() == [[-1], [-1]]
    exact.add(unit)
    for name, value in (("EXACT", 4000), ("LISTS", 16)):
        monkeypatch.setattr(neighbours, name, value)
    lists = Neighbours(16)
    lists.add(unit[:5000])
    lists.add(unit[5000:])
    for found in (exact, lists):
        scores, rows = found.search(unit[[1, 5500]], 4)
        assert rows[:, 0].tolist() == [1, 5500]
        assert np.allclose(scores[:, 0], 1, atol=1e-5)
    assert exact.search(unit[:9], 4)[1].tolist() == lists.search(unit[:9], 4)[1].tolist()
