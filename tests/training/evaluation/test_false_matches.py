"""Thresholds of small false-match rates, from made strangers whose tail is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.training.data.face_sets import FaceRow
from facestream.training.errors import DataError
from facestream.training.evaluation.false_matches import FITTED, false_matches
from facestream.training.export.strangers import as_cohort, write_vectors

PEOPLE, UNLABELLED, DIM = 400, 60, 64


def rows(people: int) -> list[FaceRow]:
    named = [FaceRow("celeba_made", f"{i}/0.webp", 100.0, 0.3) for i in range(people)]
    return named + [FaceRow("utkface", f"x/{i}.webp", 100.0, 0.3) for i in range(UNLABELLED)]


def embeddings(people: int) -> np.ndarray:
    """Directions of no order: cosines of mean 0 and deviation 1 / 8; and one that is all alike."""
    mu = np.random.default_rng(1).standard_normal((people + UNLABELLED, DIM)).astype(np.float32)
    mu[people:] = mu[people]
    return mu


def test_the_tail_of_strangers_is_found_without_the_unlabelled() -> None:
    found = false_matches(rows(PEOPLE), embeddings(PEOPLE), None)
    # Of directions in 64 dimensions: (1 + cosine) / 2 is Beta(31.5, 31.5).
    exact = {1e-2: 0.2879, 1e-3: 0.3769, 1e-4: 0.4476}
    for rate, similarity in exact.items():
        assert found.similarity(rate) == pytest.approx(similarity, abs=0.01)
    assert f"{PEOPLE * (PEOPLE - 1) // 2:,} pairs" in found.basis


def test_a_member_is_not_compared_with_itself(tmp_path: Path) -> None:
    mu = embeddings(PEOPLE)
    path = tmp_path / "made_cohort.npy"
    write_vectors(path, mu)
    cohort = as_cohort(path, encoder="enc-1", typical=0.0, top=4)
    normal = false_matches(rows(PEOPLE), mu, cohort)
    # Everybody has nearest strangers alike: normalised similarities are lower by their mean.
    near = np.sort(np.delete(cohort.vectors @ cohort.vectors[0], 0))[-4:].mean()
    plain = false_matches(rows(PEOPLE), mu, None)
    assert plain.similarity(1e-3) - normal.similarity(1e-3) == pytest.approx(near, abs=0.04)
    assert "normalised" in normal.basis


def test_too_few_people_are_refused() -> None:
    few = int((2 / FITTED[1]) ** 0.5) - 2
    with pytest.raises(DataError, match="too few"):
        false_matches(rows(few), embeddings(few), None)
