"""A small network with most operators of the real ones, and a fresh Python to try things in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from facestream.pipeline.core.images import read_image
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
RunPython = Callable[[str], "subprocess.CompletedProcess[str]"]


def small_network() -> onnx.ModelProto:
    """``x`` N×3×H×W → ``classes`` N×2 (a softmax) and ``map`` N×6×h×w."""
    rng = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.3, name)

    half = numpy_helper.from_array(rng.standard_normal((4, 2)).astype(np.float16), "dense_half")
    weights = [
        weight("conv_w", 6, 3, 3, 3),
        weight("conv_b", 6),
        weight("scale", 6),
        weight("shift", 6),
        weight("mean", 6),
        numpy_helper.from_array(np.full(6, 0.7, np.float32), "variance"),
        weight("slope", 6, 1, 1),
        weight("group_w", 6, 2, 3, 3),
        weight("head_w", 6, 4),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
        numpy_helper.from_array(np.array(-1, np.float32), "low"),
        numpy_helper.from_array(np.array(2, np.float32), "high"),
        half,
    ]
    nodes = [
        helper.make_node(
            "Conv", ["x", "conv_w", "conv_b"], ["a"], strides=[2, 1], pads=[1, 0, 1, 2]
        ),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"]),
        helper.make_node("PRelu", ["b", "slope"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["d", "group_w"], ["e"], group=3, auto_pad="SAME_UPPER"),
        helper.make_node("Clip", ["e", "low", "high"], ["map"]),
        helper.make_node("ReduceMean", ["map", "axes"], ["f"], keepdims=0),
        helper.make_node("MatMul", ["f", "head_w"], ["g"]),
        helper.make_node("Cast", ["dense_half"], ["dense"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["g", "dense"], ["h"], alpha=0.5),
        helper.make_node("Softmax", ["h"], ["classes"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", 6, None, None]),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's file."""
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(small_network(), str(path))
    return path


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Runs code in a fresh interpreter whose home is the test's folder."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import conftest\n{code}"],
            cwd=ROOT,
            env={"HOME": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def faces(shared_data: Path) -> Image:
    """Aligned faces N×112×112×3 BGR of real people."""
    pictures = sorted((shared_data / "stills").rglob("*.jpg"))
    with Mtcnn() as detector:
        crops = [
            align_faces(image, detector.detect(image).landmarks)
            for image in map(read_image, pictures)
        ]
    return np.concatenate(crops)
