"""Which faces are embedded."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.pipeline.tracking.embedding_schedule import (
    Certainty,
    EmbeddingPlan,
    EmbeddingPolicy,
    Pose,
    pose_of,
)

POLICY = EmbeddingPolicy()


def looks(
    policy: EmbeddingPolicy,
    *,
    seconds: float,
    certainty: Certainty = "open",
    poses: tuple[Pose, ...] = ((0, 1),),
    quality: float = 0.5,
) -> list[float]:
    """When a face that is found 25 times a second is looked at; its pose changes each second."""
    plan, found = EmbeddingPlan(), []
    for frame in range(round(seconds * 25)):
        pts = frame / 25
        pose = poses[int(pts) % len(poses)]
        if policy.should_embed(plan, quality=quality, pose=pose, pts=pts, certainty=certainty):
            policy.record(plan, quality=quality, pose=pose, pts=pts, certainty=certainty)
            found.append(round(pts, 2))
    return found


def test_pauses_double_while_nothing_is_new() -> None:
    assert looks(POLICY, seconds=6) == [0, 0.12, 0.52, 1.32, 2.92, 4.52]


def test_a_sure_face_gets_longer_pauses() -> None:
    assert looks(POLICY, seconds=15, certainty="sure") == [0, 0.4, 1.2, 2.8, 6.0, 10.0, 14.0]


def test_another_pose_is_looked_at_once() -> None:
    turning = looks(POLICY, seconds=3.2, poses=((0, 1), (1, 1), (-2, 1)))
    assert {1.0, 2.0} <= set(turning)
    assert 3.0 not in turning


def test_a_better_picture_is_looked_at_at_once_and_a_poor_pose_never() -> None:
    plan = EmbeddingPlan(count=3, at=0.0, quality=0.5, poses={(0, 1)})
    now = {"pts": 0.2, "certainty": "open"}
    assert POLICY.should_embed(plan, quality=0.7, pose=(0, 1), **now)  # type: ignore[arg-type]
    assert POLICY.should_embed(plan, quality=0.4, pose=(2, 1), **now)  # type: ignore[arg-type]
    assert not POLICY.should_embed(plan, quality=0.2, pose=(2, 1), **now)  # type: ignore[arg-type]
    assert not POLICY.should_embed(plan, quality=0.6, pose=(0, 1), **now)  # type: ignore[arg-type]


def test_the_budget_is_kept() -> None:
    assert len(looks(EmbeddingPolicy(max_looks=4), seconds=60)) == 4
    assert len(looks(EmbeddingPolicy(policy="every", max_looks=4), seconds=2)) == 50


@pytest.mark.parametrize(
    ("nose", "pose"),
    [
        ((50, 60), (0, 1)),
        ((42, 60), (-1, 1)),
        ((72, 60), (2, 1)),
        ((50, 46), (0, 0)),
        ((50, 74), (0, 2)),
    ],
)
def test_poses_from_landmarks(nose: tuple[float, float], pose: Pose) -> None:
    face = np.array([(30, 40), (70, 40), nose, (35, 80), (65, 80)], np.float32)
    turn = np.deg2rad(25)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    assert pose_of(face) == pose
    assert pose_of((face @ matrix.T).astype(np.float32)) == pose  # the head tilted
    pose_of(np.zeros((5, 2), np.float32))  # nonsense does no harm
