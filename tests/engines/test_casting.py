"""Networks in half precision: valid ONNX, float32 where it must be, and nearly the same numbers."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facestream.engines.cards import model_path
from facestream.engines.casting import FloatPrecision, _bfloat16, cast_network, prepare
from facestream.engines.errors import BackendUnavailable, ModelError
from facestream.engines.onnx_graphs import load, prepend_image_input
from facestream.engines.options import ImageInput
from facestream.pipeline.core.types import Floats, Image
from hypothesis import given
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import spearmanr

onnxruntime: Any = importlib.import_module("onnxruntime")  # has no type hints

NETWORKS = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "vae_encoder", "vae_decoder")
HALVES: tuple[FloatPrecision, ...] = ("float16", "bfloat16")
TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
PICTURES = ImageInput(channels="BGR", network_channels="RGB")


def run(model: bytes | Path, **feeds: Any) -> dict[str, Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of each tensor."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {one.name: one.data_type for one in graph.initializer}


def in_float32(model: onnx.ModelProto) -> list[str]:
    """The kinds of nodes with weights or constants that work in float32."""
    types = types_of(model)
    return [
        node.op_type
        for node in model.graph.node
        if node.op_type != "Cast" and types[node.input[0]] == TensorProto.FLOAT
    ]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", HALVES)
def test_outer_tensors_stay_and_weights_are_halved(name: str, precision: FloatPrecision) -> None:
    before = load(model_path(name))
    after = onnx.load_model_from_string(prepare(model_path(name), precision, None))
    assert [one.name for one in after.graph.input] == [one.name for one in before.graph.input]
    assert [one.name for one in after.graph.output] == [one.name for one in before.graph.output]
    types = types_of(after)
    for value in [*after.graph.input, *after.graph.output]:
        assert types[value.name] == TensorProto.FLOAT
    sizes = dict.fromkeys(types.values(), 0)
    for one in after.graph.initializer:
        sizes[one.data_type] += int(np.prod(one.dims))
    assert sizes[TYPES[precision]] > 10 * sizes.get(TensorProto.FLOAT, 0)
    assert len({node.name for node in after.graph.node if node.name}) == sum(
        bool(node.name) for node in after.graph.node
    )


def test_the_encoders_float32_nodes_are_its_normalisation_and_the_head_of_sigma() -> None:
    model = onnx.load_model_from_string(prepare(model_path("vae_encoder"), "float16", PICTURES))
    assert in_float32(model) == [
        *("Transpose", "Gather", "Sub", "Mul"),
        *("ReduceMean", "ReduceMean", "ReduceMean", "ReduceMean", "Concat", "Concat"),
        *("Gemm", "PRelu", "Gemm", "Clip"),
    ]


def test_raw_pictures_go_through_the_first_convolution_in_float32() -> None:
    model = onnx.load_model_from_string(prepare(model_path("mtcnn_pnet"), "float16", None))
    assert in_float32(model) == ["Conv"]
    assert "Conv" not in in_float32(
        onnx.load_model_from_string(prepare(model_path("vae_decoder"), "float16", None))
    )


@pytest.mark.shared_data
def test_embeddings_of_real_faces_hardly_change(faces: Image) -> None:
    path = model_path("vae_encoder")
    planes = np.ascontiguousarray(faces[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32)
    exact = run(path, faces=planes)
    half = run(prepare(path, "float16", PICTURES), faces=faces)
    assert np.isfinite(half["mu"]).all()
    assert np.isfinite(half["logvar"]).all()
    assert cosines(exact["mu"], half["mu"]).min() >= 0.9999
    doubts = [values["logvar"].mean(axis=1) for values in (exact, half)]
    assert spearmanr(*doubts).statistic >= 0.999
    assert np.abs(exact["logvar"] - half["logvar"]).max() < 0.01
    # Without arithmetic to round, pictures give the very same numbers as planes do.
    pictures = run(prepare(path, "float32", PICTURES), faces=faces)
    np.testing.assert_array_equal(pictures["mu"], exact["mu"])


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "side"), [("mtcnn_rnet", 24), ("mtcnn_onet", 48)])
def test_the_detectors_networks_hardly_change(name: str, side: int, faces: Image) -> None:
    cv2 = importlib.import_module("cv2")
    crops = np.stack(
        [cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces]
    )
    planes = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).astype(np.float32)
    exact = run(model_path(name), crops=planes)["heads"]
    half = run(prepare(model_path(name), "float16", None), crops=planes)["heads"]
    assert np.abs(exact - half).max() < 0.02 * np.abs(exact).max()


@pytest.mark.shared_data
def test_pnets_map_of_a_real_picture_hardly_changes(faces: Image) -> None:
    planes = np.ascontiguousarray(faces[:2].transpose(0, 3, 1, 2)).astype(np.float32)
    exact = run(model_path("mtcnn_pnet"), image=planes)["maps"]
    half = run(prepare(model_path("mtcnn_pnet"), "float16", None), image=planes)["maps"]
    assert np.abs(exact - half).max() < 0.02 * np.abs(exact).max()


def test_the_decoders_pictures_hardly_change() -> None:
    codes = np.random.default_rng(3).standard_normal((4, 256)).astype(np.float32)
    exact = run(model_path("vae_decoder"), z=codes)["faces"]
    half = run(prepare(model_path("vae_decoder"), "float16", None), z=codes)["faces"]
    assert np.abs(exact - half).max() < 0.01 * max(float(np.abs(exact).max()), 1.0)


def test_pictures_are_converted_as_they_say() -> None:
    image = ImageInput(channels="RGB", network_channels="BGR", mean=127.5, scale=128.0)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, None, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, None, 5])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    prepend_image_input(model, image)
    onnx.checker.check_model(model)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    want = (pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128
    np.testing.assert_array_equal(run(model.SerializeToString(), x=pictures)["y"], want)


@pytest.mark.parametrize("precision", HALVES)
def test_sensitive_operators_and_heads_stay_float32(
    network: Path, precision: FloatPrecision
) -> None:
    model = onnx.load_model_from_string(prepare(network, precision, None))
    kinds = in_float32(model)
    # Of two outputs, what leads to "classes" alone is its head; what both need is halved.
    assert kinds == ["Conv", "BatchNormalization", "ReduceMean", "MatMul", "Gemm", "Softmax"]
    if precision == "float16":
        x = np.random.default_rng(2).random((2, 3, 12, 10), np.float32)
        exact, half = run(network, x=x), run(prepare(network, precision, None), x=x)
        for name, values in exact.items():
            np.testing.assert_allclose(half[name], values, atol=5e-3)


def test_constants_beyond_float16_stay_float32() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.eye(2, dtype=np.float32), "w"),
        numpy_helper.from_array(np.array(-1e30, np.float32), "low"),
        numpy_helper.from_array(np.array(1e30, np.float32), "high"),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "clip",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    cast = cast_network(model, "float16")
    assert in_float32(cast) == ["Clip"]
    x = np.array([[1.0, -2.5]], np.float32)
    np.testing.assert_array_equal(run(cast.SerializeToString(), x=x)["y"], x)


@given(arrays(np.uint32, 64))
def test_bfloat16_is_rounded_to_the_nearest(bits: NDArray[np.uint32]) -> None:
    values = np.nan_to_num(bits.view(np.float32), nan=0.5, posinf=1e38, neginf=-1e38)
    ml_dtypes = importlib.import_module("ml_dtypes")
    want = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    np.testing.assert_array_equal(_bfloat16(values), want)


def test_exact_float32_needs_no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = model_path("mtcnn_rnet")
    assert prepare(path, "float32", None) == path.read_bytes()
    with pytest.raises(BackendUnavailable, match="pip install onnx"):
        prepare(path, "float16", None)


@pytest.mark.parametrize("name", ["mtcnn_rnet", "vae_encoder"])
def test_dense_layers_as_convolutions_give_the_same(name: str) -> None:
    """What TensorRT-RTX needs on Turing."""
    path = model_path(name)
    model = prepare(path, "float32", None, dense="convolution")
    assert "Gemm" not in {node.op_type for node in onnx.load_model_from_string(model).graph.node}
    (fed,) = load(path).graph.input
    shape = [length.dim_value or 2 for length in fed.type.tensor_type.shape.dim]
    planes = np.random.default_rng(5).random(shape, np.float32) * 255
    exact, other = run(path, **{fed.name: planes}), run(model, **{fed.name: planes})
    for output, values in exact.items():
        np.testing.assert_allclose(other[output], values, rtol=1e-3, atol=1e-4)


def test_other_dense_layers_are_left_alone(network: Path) -> None:
    model = prepare(network, "float32", None, dense="convolution")  # its Gemm has alpha 0.5
    assert "Gemm" in {node.op_type for node in onnx.load_model_from_string(model).graph.node}


def test_what_cannot_be_cast_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model_path("mtcnn_rnet").read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"damaged\.onnx"):
        prepare(damaged, "float16", None)
    with pytest.raises(ModelError, match="no model file"):
        prepare(tmp_path / "none.onnx", "float16", None)
    with pytest.raises(ModelError, match="not z"):
        prepare(model_path("vae_decoder"), "float16", PICTURES)
    nested = load(model_path("mtcnn_rnet"))
    branch = helper.make_graph([], "branch", [], [])
    nested.graph.node.append(
        helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch)
    )
    with pytest.raises(ModelError, match="subgraphs"):
        cast_network(nested, "float16")


def cosines(one: Floats, other: Floats) -> Floats:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: Floats = (one * other).sum(axis=1) / lengths
    return found
