"""What the torch backend does beyond ``infer``: tensors that stay, half precision, devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from facestream.engines.base import Array
from facestream.engines.cards import model_path
from facestream.engines.errors import BackendUnavailable, InferenceError, ModelError
from facestream.engines.options import EngineOptions, ImageInput
from facestream.engines.registry import load_engine
from facestream.engines.torch import (
    TorchEngine,
    choose_precision,
    describe,
    find_device,
)
from onnx import TensorProto, helper

from .conftest import small_network

CPU = EngineOptions(device="cpu")
BFLOAT16 = EngineOptions(device="cpu", precision="bfloat16")

NETWORKS = {
    "mtcnn_pnet": (2, 3, 40, 50),
    "mtcnn_rnet": (6, 3, 24, 24),
    "mtcnn_onet": (4, 3, 48, 48),
    "vae_encoder": (2, 3, 112, 112),
}


def noise(shape: tuple[int, ...], *, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_tensors_in_tensors_out(network: Path) -> None:
    feed = noise((2, 3, 16, 20))
    with TorchEngine(network, options=CPU) as engine:
        assert engine.torch_device == torch.device("cpu")
        expected = engine.infer({"x": feed})
        found = engine.run_tensors({"x": torch.from_numpy(feed)})
    assert list(found) == ["classes", "map"]
    for name, tensor in found.items():
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.numpy(), expected[name])


def test_tensors_need_not_be_contiguous(network: Path) -> None:
    feed = torch.from_numpy(noise((2, 20, 16, 3))).permute(0, 3, 2, 1)
    with TorchEngine(network, options=CPU) as engine:
        found = engine.run_tensors({"x": feed})["map"]
        expected = engine.infer({"x": feed.numpy()})["map"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_pictures_as_tensors(network: Path) -> None:
    options = EngineOptions(device="cpu", image_input=ImageInput(mean=127.5, scale=128))
    feed = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), np.uint8)
    with TorchEngine(network, options=options) as engine:
        found = engine.run_tensors({"x": torch.from_numpy(feed)})["map"]
        np.testing.assert_array_equal(found.numpy(), engine.infer({"x": feed})["map"])


def test_outputs_are_the_callers_also_where_the_network_passes_something_on(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Identity", ["weight"], ["given"]),
    ]
    graph = helper.make_graph(
        nodes,
        "passes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3))],
        [
            helper.make_tensor_value_info("flat", TensorProto.FLOAT, ("n", 3)),
            helper.make_tensor_value_info("given", TensorProto.FLOAT, (2,)),
        ],
        [helper.make_tensor("weight", TensorProto.FLOAT, (2,), [1, 2])],
    )
    path = tmp_path / "passes.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    with TorchEngine(path, options=CPU) as engine:
        feed = torch.ones(2, 3)
        with torch.inference_mode():
            for found in engine.run_tensors({"x": feed}).values():
                found.zero_()
            assert feed.sum() == 6
            assert engine.run_tensors({"x": feed})["given"].tolist() == [1, 2]


def test_what_is_wrong_with_tensors(network: Path) -> None:
    engine = TorchEngine(network, options=CPU)
    with pytest.raises(InferenceError, match="input 'x' is not fed; got y"):
        engine.run_tensors({"y": torch.zeros(1)})
    with pytest.raises(InferenceError, match=r"small\.onnx failed"):
        engine.run_tensors({"x": torch.zeros(1, 3, 1, 1)})
    engine.close()
    with pytest.raises(InferenceError, match=r"the engine of small\.onnx is closed"):
        engine.run_tensors({"x": torch.zeros(1, 3, 16, 16)})


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_keeps_close_to_float32(name: str) -> None:
    """The cast that TensorRT's plans are built from too, run for real."""
    feed = noise(NETWORKS[name])
    if name == "vae_encoder":
        feed = (feed + 1) * 127.5
    path = model_path(name)
    with TorchEngine(path, options=CPU) as exact, TorchEngine(path, options=BFLOAT16) as half:
        assert (exact.precision, half.precision) == ("float32", "bfloat16")
        (source,) = exact.inputs
        wanted, found = (engine.infer({source.name: feed}) for engine in (exact, half))
    for output, expected in wanted.items():
        result = found[output]
        assert result.dtype == np.float32
        assert not np.array_equal(result, expected)  # it did round
        a, b = (values.reshape(len(feed), -1) for values in (expected, result))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.998


def test_bfloat16_on_tensors_and_on_arrays_is_the_same(network: Path) -> None:
    feed = noise((2, 3, 16, 20))
    with TorchEngine(network, options=BFLOAT16) as engine:
        found = engine.run_tensors({"x": torch.from_numpy(feed)})
        for name, array in engine.infer({"x": feed}).items():
            np.testing.assert_array_equal(found[name].numpy(), array)
            assert found[name].is_contiguous()


def test_what_a_device_does_not_compute() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == "float32"
    with pytest.raises(BackendUnavailable, match="does not compute float16 on the CPU"):
        choose_precision("float16", cpu)
    with pytest.raises(BackendUnavailable, match="does not compute int8 on the CPU"):
        choose_precision("int8", cpu)


def test_the_cpu_may_be_asked_for() -> None:
    assert find_device("cpu").type == "cpu"
    assert describe("cpu").endswith(", CPU, float32")


def test_a_cuda_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto").type == "cpu"
    with pytest.raises(BackendUnavailable, match="torch sees no CUDA device: "):
        find_device("cuda")


def test_weights_kept_in_bfloat16(tmp_path: Path) -> None:
    """numpy has no such type of its own: they are read as they lie."""
    model = small_network()
    weight = next(item for item in model.graph.initializer if item.name == "dense_half")
    values = onnx.numpy_helper.to_array(weight).astype(np.float32)
    stored = helper.make_tensor("dense_half", TensorProto.BFLOAT16, values.shape, values.ravel())
    weight.CopyFrom(stored)
    path = tmp_path / "stored.onnx"
    onnx.save(model, str(path))
    whole = small_network()
    rounded = torch.from_numpy(values).bfloat16().float().numpy().astype(np.float16)
    for item in whole.graph.initializer:
        if item.name == "dense_half":
            item.CopyFrom(onnx.numpy_helper.from_array(rounded, "dense_half"))
    other = tmp_path / "rounded.onnx"
    onnx.save(whole, str(other))
    feed = {"x": noise((1, 3, 16, 16))}
    with TorchEngine(path, options=CPU) as one, TorchEngine(other, options=CPU) as two:
        np.testing.assert_allclose(
            one.infer(feed)["classes"], two.infer(feed)["classes"], atol=1e-3
        )


@pytest.mark.parametrize("name", ["vae_decoder", "vae_appearance"])
def test_the_decoders_operators(name: str) -> None:
    """Resizing, pixel shuffle, slices and splits, against OpenVINO."""
    options = EngineOptions(precision="float32", device="cpu")
    with (
        TorchEngine(model_path(name), options=options) as ours,
        load_engine(model_path(name), backend="openvino", options=options) as theirs,
    ):
        feeds = {
            spec.name: noise(tuple(length or 2 for length in spec.shape)) for spec in ours.inputs
        }
        expected = theirs.infer(feeds)
        for output, array in ours.infer(feeds).items():
            np.testing.assert_allclose(array, expected[output], atol=2e-5)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="DCR"),
        helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD"),
        helper.make_node("Slice", ["x", "one_two", "minus_one", "two_three"], ["y"]),
        helper.make_node("Slice", ["x", "zero", "large", "three", "two"], ["y"]),
        helper.make_node("Split", ["x", "two_six"], ["a", "y"], axis=1),
        helper.make_node("Split", ["x"], ["a", "b", "y"], axis=1, num_outputs=3),
    ],
    ids=lambda node: node.op_type,
)
def test_operators_that_move_values(tmp_path: Path, node: onnx.NodeProto) -> None:
    constants = {
        "zero": [0],
        "two": [2],
        "three": [3],
        "large": [2**60],
        "one_two": [1, 2],
        "minus_one": [-1, -1],
        "two_three": [2, 3],
        "two_six": [2, 6],
    }
    used = [name for name in node.input if name in constants]
    graph = helper.make_graph(
        [node],
        "moves",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 8, "h", "w"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", "c", "u", "v"))],
        [
            helper.make_tensor(name, TensorProto.INT64, (len(constants[name]),), constants[name])
            for name in used
        ],
    )
    path = tmp_path / "moves.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    feed = {"x": noise((2, 8, 6, 5))}
    with (
        TorchEngine(path, options=CPU) as ours,
        load_engine(path, backend="openvino", options=CPU) as theirs,
    ):
        np.testing.assert_array_equal(ours.infer(feed)["y"], theirs.infer(feed)["y"])


def test_a_resize_that_is_not_understood(tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="cubic")
    graph = helper.make_graph(
        [node],
        "cubic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor("scales", TensorProto.FLOAT, (4,), [1, 1, 2, 2])],
    )
    path = tmp_path / "cubic.onnx"
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))
    with (
        TorchEngine(path, options=CPU) as engine,
        pytest.raises(ModelError, match="not cubic half_pixel"),
    ):
        engine.infer({"x": noise((1, 3, 4, 4))})
