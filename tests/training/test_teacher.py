"""The real teacher: many faces at a time, though its file is made for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.training.data.face_sets import read_folder
from facestream.training.data.teacher import teacher_net, teacher_targets
from facestream.training.errors import TrainingError


def test_many_at_a_time_are_the_same_as_each_alone(shared_data: Path) -> None:
    path = shared_data / "models/face_recognition_sface_2021dec.onnx"
    faces = np.random.default_rng(0).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    found = teacher_net(path, threads=1)(faces)
    with load_engine(path, options=EngineOptions(threads=1)) as engine:
        alone = [next(iter(engine.infer({"data": face[None]}).values())) for face in faces]
    wanted = np.concatenate(alone)
    cosine = (found * wanted).sum(axis=1) / np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(cosine / np.linalg.norm(wanted, axis=1), 1.0, atol=1e-3)


def test_targets_without_a_cache(shared_data: Path, tmp_path: Path) -> None:
    rows = read_folder(shared_data / "train", datasets=["scut"])[:3]
    teacher = shared_data / "models/face_recognition_sface_2021dec.onnx"
    plain, mirror = teacher_targets(
        shared_data / "train", rows, teacher=teacher, cache=tmp_path, threads=1
    )
    cosine = (plain * mirror).sum(axis=1)
    cosine /= np.linalg.norm(plain, axis=1) * np.linalg.norm(mirror, axis=1)
    assert plain.shape == mirror.shape == (3, 128)
    assert (cosine > 0.8).all()  # a face and its mirror image are one person


def test_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is missing"):
        teacher_net(tmp_path / "none.onnx", threads=1)
