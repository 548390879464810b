"""Operations and bytes, against what one counts by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.cards import MODELS
from facestream.pipeline.bench.flops import Work, count_work

onnx = pytest.importorskip("onnx")


def network(path: Path, nodes: list[Any], given: list[int | str], **weights: Any) -> Path:
    """A network from ``x`` to ``y``."""
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))
    return path


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def floats(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def test_a_convolution_with_bias_and_stride(tmp_path: Path) -> None:
    path = network(
        tmp_path / "n.onnx",
        [node("Conv", "x w b", "y", strides=[2, 2], pads=[1, 1, 1, 1])],
        ["N", 3, 16, 16],
        w=floats(8, 3, 3, 3),
        b=floats(8),
    )
    work = count_work(path, {"x": (2, 3, 16, 16)})
    out = 2 * 8 * 8 * 8
    assert work == Work(
        flops=out * (2 * 3 * 9 + 1),
        weights=8 * 27 + 8,
        ends=2 * 3 * 256 + out,
        layers=2 * 3 * 256 + out,
    )
    assert work.least_bytes(4) == 4 * (224 + 1536 + 1024)
    assert work.layer_bytes(2) == work.least_bytes(2)


def test_a_depthwise_convolution_costs_its_own_channel_only(tmp_path: Path) -> None:
    path = network(
        tmp_path / "n.onnx",
        [node("Conv", "x w", "y", group=4)],
        ["N", 4, 10, 10],
        w=floats(4, 1, 3, 3),
    )
    assert count_work(path, {"x": (1, 4, 10, 10)}).flops == 4 * 8 * 8 * 2 * 9


def test_dense_layers_activations_and_pooling(tmp_path: Path) -> None:
    path = network(
        tmp_path / "n.onnx",
        [
            node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("PRelu", "p slope", "a"),
            node("Flatten", "a", "f"),
            node("Gemm", "f w b", "h", transB=1),
            node("MatMul", "h m", "y"),
        ],
        ["N", 2, 4, 4],
        slope=floats(2, 1, 1),
        w=floats(5, 8),
        b=floats(5),
        m=floats(5, 3),
    )
    work = count_work(path, {"x": (1, 2, 4, 4)})
    assert work.flops == 8 * 4 + 8 * 2 + 5 * (2 * 8 + 1) + 2 * 5 * 3
    assert work.weights == 2 + 40 + 5 + 15
    # In and out of the pooling, the Gemm and the product; the activation is fused with them.
    assert work.layers == (32 + 8) + (8 + 5) + (5 + 3)


def test_what_hangs_on_weights_alone_costs_nothing(tmp_path: Path) -> None:
    path = network(
        tmp_path / "n.onnx",
        [
            node("Cast", "half", "w", to=1),
            node("Mul", "w w", "squared"),
            node("MatMul", "x squared", "y"),
        ],
        ["N", 4],
        half=np.ones((4, 6), np.float16),
    )
    work = count_work(path, {"x": (3, 4)})
    assert (work.flops, work.weights) == (2 * 4 * 3 * 6, 24)


def test_an_operator_whose_cost_is_not_known_is_named(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", [node("Det", "x", "y")], ["N", 3, 3])
    with pytest.raises(ValueError, match=r"n\.onnx has the operator Det"):
        count_work(path, {"x": (1, 3, 3)})


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "n.onnx", [node("MatMul", "x w", "y")], ["N", 4], w=floats(4, 6))
    with pytest.raises(ValueError, match="x needs a shape"):
        count_work(path, {})
    with pytest.raises(ValueError, match="has 2 dimensions"):
        count_work(path, {"x": (1, 4, 1)})
    with pytest.raises(ValueError, match="does not take"):
        count_work(path, {"x": (1, 5)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mtcnn_pnet", (3, 60, 80)),
        ("mtcnn_rnet", (3, 24, 24)),
        ("mtcnn_onet", (3, 48, 48)),
        ("vae_encoder", (3, 112, 112)),
        ("vae_decoder", (256,)),
    ],
)
def test_our_networks_cost_in_proportion_to_the_batch(name: str, shape: tuple[int, ...]) -> None:
    path = MODELS / f"{name}.onnx"
    given = onnx.load(str(path)).graph.input[0].name
    one, four = (count_work(path, {given: (n, *shape)}) for n in (1, 4))
    assert four.flops == 4 * one.flops > 0
    assert four.weights == one.weights
    assert four.ends == 4 * one.ends


def test_pnet_by_hand() -> None:
    """12×12 in, one position out (Zhang et al., 2016, figure 2); ours has one value for the face's
    log-odds where the paper has two logits."""
    work = count_work(MODELS / "mtcnn_pnet.onnx", {"image": (1, 3, 12, 12)})
    convolutions = (
        10 * 10 * 10 * (2 * 27 + 1)
        + 3 * 3 * 16 * (2 * 90 + 1)
        + 1 * 32 * (2 * 144 + 1)
        + 1 * (1 + 4) * (2 * 32 + 1)
    )
    pooling, activations = 5 * 5 * 10 * 4, 2 * (1000 + 144 + 32)
    assert work.flops == convolutions + pooling + activations
