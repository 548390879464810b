"""Clips made of a picture: what is promised of them, on a drawn face."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from facestream.training.evaluation.clips import EYE_DISTANCE, ClipRules, render_clip, through_h264
from facestream.training.evaluation.lfw import MEAN_LANDMARKS

STILL = ClipRules(
    frames=4,
    eyes=(EYE_DISTANCE * 0.6, EYE_DISTANCE * 0.6),
    growth=1.0,
    yaw=(0.0, 0.0),
    defocus=(0.0, 0.0),
    smear=(0.0, 0.0),
    hidden=0.0,
    noise=(0.0, 0.0),
    crf=(10, 10),
)


def drawn_face() -> np.ndarray:
    """250×250: a disc with dark spots where LFW's faces have their landmarks."""
    image = np.full((250, 250, 3), 90, np.uint8)
    cv2.ellipse(image, (126, 138), (52, 70), 0, 0, 360, (200, 200, 200), -1)
    for x, y in MEAN_LANDMARKS:
        cv2.circle(image, (int(x), int(y)), 6, (20, 20, 20), -1)
    return image


def test_a_clip_can_be_made_again() -> None:
    first, second, other = (
        render_clip(drawn_face(), np.random.default_rng(seed), rules=ClipRules())
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.boxes, second.boxes)
    assert not np.array_equal(first.boxes, other.boxes)


def test_shapes_and_times() -> None:
    rules = ClipRules(frames=5, fps=10)
    clip = render_clip(drawn_face(), np.random.default_rng(0), rules=rules)
    assert clip.frames.shape == (5, rules.height, rules.width, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.boxes.shape == (5, 4)
    assert clip.times.tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert (clip.boxes[:, 2:] > clip.boxes[:, :2]).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_face_is_where_the_box_says(seed: int) -> None:
    """The disc is brighter than all around it: its centre of mass is the box's middle."""
    clip = render_clip(drawn_face(), np.random.default_rng(seed), rules=STILL)
    for frame, box in zip(clip.frames, clip.boxes, strict=True):
        left, top, right, bottom = box.astype(int)
        inside = frame[max(top, 0) : bottom, max(left, 0) : right]
        outside = frame.astype(float).sum() - inside.astype(float).sum()
        outside /= frame.size - inside.size
        assert inside.mean() > outside + 10


def test_motion_moves_and_growth_grows() -> None:
    rules = replace(STILL, frames=8, growth=2.0, eyes=(12.0, 12.0))
    clip = render_clip(drawn_face(), np.random.default_rng(5), rules=rules)
    width = clip.boxes[:, 2] - clip.boxes[:, 0]
    assert np.ptp((clip.boxes[:, 0] + clip.boxes[:, 2]) / 2) > 2
    assert width.max() / width.min() <= 2.0 + 1e-5
    assert width[0] != width[-1]


def test_noise_and_compression_degrade() -> None:
    sharp = render_clip(drawn_face(), np.random.default_rng(1), rules=STILL).frames
    worse = replace(STILL, noise=(25.0, 25.0))
    noisy = render_clip(drawn_face(), np.random.default_rng(1), rules=worse).frames
    roughness = [cv2.Laplacian(f[0][:, :, 0], cv2.CV_32F).var() for f in (sharp, noisy)]
    assert roughness[1] > 2 * roughness[0]


def test_h264_keeps_frames_and_loses_detail() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 64, 48), np.uint8)
    good, bad = (through_h264(frames, fps=10, crf=crf) for crf in (5, 45))
    assert good.shape == bad.shape == frames.shape
    errors = [np.abs(f.astype(int) - frames).mean() for f in (good, bad)]
    assert errors[0] < errors[1]


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="250×250×3"):
        render_clip(np.zeros((128, 128, 3), np.uint8), np.random.default_rng(0), rules=STILL)
