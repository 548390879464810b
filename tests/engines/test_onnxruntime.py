"""What only the ONNX Runtime engine does: float16, and files it cannot run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from facestream.engines.base import Array
from facestream.engines.cards import model_path
from facestream.engines.errors import ModelError
from facestream.engines.onnxruntime import OnnxRuntimeEngine, describe
from facestream.engines.options import EngineOptions
from onnx import TensorProto, helper

CPU = EngineOptions(device="cpu", precision="float32")
HALF = EngineOptions(device="cpu", precision="float16")

NETWORKS = {
    "mtcnn_pnet": (2, 3, 40, 50),
    "mtcnn_rnet": (6, 3, 24, 24),
    "mtcnn_onet": (4, 3, 48, 48),
    "vae_encoder": (2, 3, 112, 112),
}


def noise(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_float16_keeps_close_to_float32(name: str) -> None:
    """The cast that TensorRT's plans are built from too."""
    feed = noise(NETWORKS[name])
    if name == "vae_encoder":
        feed = (feed + 1) * 127.5
    path = model_path(name)
    with (
        OnnxRuntimeEngine(path, options=CPU) as exact,
        OnnxRuntimeEngine(path, options=HALF) as half,
    ):
        assert (exact.precision, half.precision) == ("float32", "float16")
        (source,) = exact.inputs
        wanted, found = (engine.infer({source.name: feed}) for engine in (exact, half))
    for output, expected in wanted.items():
        result = found[output]
        assert result.dtype == np.float32
        assert not np.array_equal(result, expected)  # it did round
        a, b = (values.reshape(len(feed), -1) for values in (expected, result))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.999


def test_the_cpu_is_described() -> None:
    assert describe("cpu").endswith(", CPU, float32")


def test_a_type_that_is_not_supported_is_named(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "integers",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ("n",))],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ("n",))],
    )
    path = tmp_path / "integers.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    with pytest.raises(ModelError, match=r"tensor 'x' is tensor\(int64\)"):
        OnnxRuntimeEngine(path, options=CPU)
