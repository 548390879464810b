"""Turned heads: the measure, and pairs sorted by it."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.training.evaluation.pose import PAIR_KINDS, measure_pose, turn


@pytest.mark.parametrize(
    ("nose", "expected"), [(50.0, 0.0), (30.0, 1.0), (70.0, -1.0), (40.0, 0.5)]
)
def test_the_nose_between_the_eyes_says_the_turn(nose: float, expected: float) -> None:
    face = np.array([[30, 40], [70, 40], [nose, 60], [35, 80], [65, 80]], np.float32)
    assert turn(face[None])[0] == pytest.approx(expected)


def test_the_turn_does_not_depend_on_tilt_or_size() -> None:
    face = np.array([[30, 40], [70, 40], [44, 60], [35, 80], [65, 80]], np.float32)
    angle = np.radians(25)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (1.7 * face @ rotation.T + 12).astype(np.float32)
    # The nose lies below the eyes: only its place along their line counts.
    assert turn(moved[None])[0] == pytest.approx(turn(face[None])[0], abs=1e-5)


def test_pairs_are_sorted_by_both_heads() -> None:
    rng = np.random.default_rng(0)
    people = 30
    centres = rng.standard_normal((people, 32))
    # Frontal, turned left, turned left, turned right; the last one shows somebody else.
    turns = np.tile(np.array([0.0, 0.5, 0.6, -0.5], np.float32), people)
    person = np.repeat(np.arange(people), 4).astype(str)
    mu = np.repeat(centres, 4, axis=0) + 0.01 * rng.standard_normal((4 * people, 32))
    mu[3::4] = rng.standard_normal((people, 32))
    mu = np.concatenate([mu, mu[:1]])  # a picture without a detected face takes no part
    turns = np.append(turns, np.float32("nan"))
    person = np.append(person, "0")
    unit = (mu / np.linalg.norm(mu, axis=1, keepdims=True)).astype(np.float32)
    table = {row.kind: row for row in measure_pose(unit, list(person), turns)}
    assert tuple(table) == PAIR_KINDS
    assert table["frontal-frontal"].genuine == 0
    assert table["turned-turned"].genuine == people
    assert table["turned-turned"].tar.value == 1.0
    assert table["opposite sides"].genuine == 2 * people
    assert table["opposite sides"].tar.value < 0.2
    assert table["frontal-turned"].genuine == 3 * people
    assert table["frontal-turned"].tar.value == pytest.approx(2 / 3, abs=0.1)
