"""Search by person against a plain numpy oracle."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.engines.cards import load_card
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery.changes import Head, Snapshot
from facestream.pipeline.gallery.index import TemplateIndex
from facestream.pipeline.gallery.templates import Templates
from facestream.pipeline.recognition.cohort import Cohort
from hypothesis import given, settings
from hypothesis import strategies as st


def snapshot(mu: Floats, people: list[int]) -> Snapshot:
    templates = Templates(
        photo_ids=np.arange(10, 10 + 2 * len(mu), 2, dtype=np.int64),
        person_ids=np.array(people, np.int64),
        mu=mu.copy(),
        logvar=mu[:0],
    )
    return Snapshot(Head(0, ""), "m", {person: f"P{person}" for person in people}, templates)


@settings(max_examples=50, deadline=None)
@given(
    people=st.lists(st.integers(1, 6), min_size=1, max_size=60),
    k=st.integers(1, 8),
    seed=st.integers(0, 2**16),
)
def test_the_best_photo_of_each_person(people: list[int], k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    mu = random.normal(size=(len(people), 8)).astype(np.float32)
    probes = random.normal(size=(3, 8)).astype(np.float32)
    found = TemplateIndex(snapshot(mu, people)).search(probes, k)
    unit = mu / np.linalg.norm(mu, axis=1, keepdims=True)
    for row, probe in enumerate(probes / np.linalg.norm(probes, axis=1, keepdims=True)):
        cosines = unit @ probe
        best = {p: max(c for q, c in zip(people, cosines, strict=True) if q == p) for p in people}
        expected = sorted(best.items(), key=lambda item: -item[1])[:k]
        assert found.person_ids[row, : len(expected)].tolist() == [p for p, _ in expected]
        assert found.similarities[row, : len(expected)] == pytest.approx(
            [c for _, c in expected], abs=1e-5
        )
        assert (found.person_ids[row, len(expected) :] == -1).all()
        assert np.isneginf(found.similarities[row, len(expected) :]).all()
        assert found.names[row][: len(expected)] == tuple(f"P{p}" for p, _ in expected)


def test_a_person_with_many_photos_does_not_hide_the_next() -> None:
    mu = np.zeros((301, 4), np.float32)
    mu[:300, 0] = 1
    mu[:300, 1] = np.linspace(0, 0.1, 300)
    mu[300] = [0.5, 0, 1, 0]
    found = TemplateIndex(snapshot(mu, [1] * 300 + [2])).search(mu[:1], 2)
    assert found.person_ids.tolist() == [[1, 2]]


def test_vectors_without_a_direction_match_nobody() -> None:
    mu = np.array([[1, 0], [0, 0], [np.nan, 1]], np.float32)
    index = TemplateIndex(snapshot(mu, [1, 2, 3]))
    assert len(index) == 1
    probes = np.array([[2, 0], [0, 0], [np.inf, 0]], np.float32)
    assert index.search(probes, 2).person_ids.tolist() == [[1, -1], [-1, -1], [-1, -1]]


def test_wrong_shapes_are_refused() -> None:
    index = TemplateIndex(snapshot(np.ones((2, 4), np.float32), [1, 2]))
    with pytest.raises(ValueError, match="N×4"):
        index.search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(np.ones((1, 4), np.float32), 0)
    assert index.search(np.ones((0, 4), np.float32), 2).person_ids.shape == (0, 2)


def cohort_of(vectors: Floats, top: int) -> Cohort:
    card = load_card("vae_cohort").model_copy(update={"sha256": "0" * 64})
    return Cohort(vectors, top, 0.1, card)


@settings(max_examples=30, deadline=None)
@given(
    people=st.lists(st.integers(1, 6), min_size=1, max_size=20),
    k=st.integers(1, 8),
    seed=st.integers(0, 2**16),
)
def test_normalised_by_a_cohort(people: list[int], k: int, seed: int) -> None:
    """Similarity less half of what probe and photo have in common with their nearest strangers."""
    random = np.random.default_rng(seed)
    mu, probes, strangers = (random.normal(size=(n, 8)) for n in (len(people), 3, 30))
    index = TemplateIndex(snapshot(mu.astype(np.float32), people))
    unit, sought, nobody = (
        a / np.linalg.norm(a, axis=1, keepdims=True) for a in (mu, probes, strangers)
    )
    cohort = cohort_of(nobody.astype(np.float32), 5)
    near = [np.sort(side @ nobody.T, axis=1)[:, -5:].mean(axis=1) for side in (sought, unit)]
    scores = (sought @ unit.T - (near[0][:, None] + near[1][None]) / 2 + 0.1).clip(-1, 1)
    for _ in range(2):  # the second time what the templates have in common is known
        found = index.search(probes.astype(np.float32), k, cohort=cohort)
        for row in range(3):
            best = {p: max(scores[row][np.array(people) == p]) for p in people}
            expected = sorted(best.values(), reverse=True)[:k]
            if len(people) > 4 * k:
                # Only the photos nearest by cosine are normalised.
                assert found.similarities[row, 0] <= expected[0] + 1e-5
            else:
                assert found.similarities[row, : len(expected)] == pytest.approx(expected, abs=1e-5)
    assert (index.search(probes.astype(np.float32), k).similarities <= 1).all()
