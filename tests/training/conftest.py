"""Small made data: two sets of pictures in zips with their lists, and a toy teacher."""

from __future__ import annotations

import csv
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from facestream.training.fit.config import FitConfig
from onnx import TensorProto, helper, numpy_helper


def picture(seed: int) -> np.ndarray:
    """128×128×3 uint8: smooth blobs, another for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC))


def write_set(folder: Path, name: str, members: dict[str, int], *, listed: set[str]) -> None:
    """A zip of pictures and the csv that names those that may be used."""
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for member, seed in members.items():
            archive.writestr(member, cv2.imencode(".webp", picture(seed))[1].tobytes())
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["member", "score", "face_px", "eval_cosine"])
        writer.writerows([member, 0.9, 100.0, 0.3] for member in sorted(listed))


@pytest.fixture
def face_folder(tmp_path: Path) -> Path:
    """24 people with 3 pictures each, and 12 pictures of nobody in a set with streaks."""
    folder = tmp_path / "train"
    folder.mkdir()
    people = {f"{p}/{p}_{i}.webp": 10 * p + i for p in range(24) for i in range(3)}
    write_set(folder, "people", people | {"0/forbidden.webp": 999}, listed=set(people))
    nobody = {f"x/30_1_2_{i}.webp": 1000 + i for i in range(12)}
    write_set(folder, "utkface", nobody, listed=set(nobody))
    return folder


@pytest.fixture
def toy_teacher(tmp_path: Path) -> Path:
    """An ONNX file with SFace's input and output: a random projection of a small picture."""
    weight = np.random.default_rng(0).standard_normal((3 * 7 * 7, 128)).astype(np.float32) / 300
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["data"], ["a"], kernel_shape=[16, 16], strides=[16, 16]
            ),
            helper.make_node("Flatten", ["a"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["fc1"]),
        ],
        "toy",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["N", 128])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path / "teacher.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def small_config(face_folder: Path, toy_teacher: Path, tmp_path: Path) -> FitConfig:
    """A run of six steps from fresh weights."""
    return FitConfig(
        data=face_folder,
        teacher=toy_teacher,
        cache=tmp_path / "cache",
        backbone="residual",
        start="fresh",
        trunk="trained",
        held_out_percent=25,
        batch=6,
        steps=6,
        log_every=1,
        save_every=3,
        validate_every=3,
        validation_pictures=8,
        workers=0,
        threads=1,
        accelerator="cpu",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skips where one may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("needs to mount a small file system, which takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)
