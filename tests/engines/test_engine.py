"""What every engine promises beside its numbers: threads, ownership, clear faults."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from facestream.engines.base import Array, Engine
from facestream.engines.errors import BackendUnavailable, InferenceError, ModelError
from facestream.engines.options import Backend, EngineOptions, ImageInput
from facestream.engines.registry import load_engine
from onnx import TensorProto, helper

BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime")
FLOAT32 = EngineOptions(precision="float32")

backends = pytest.mark.parametrize("backend", BACKENDS)


def pictures(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@backends
def test_is_an_engine(network: Path, backend: Backend) -> None:
    with load_engine(network, backend=backend) as engine:
        assert isinstance(engine, Engine)
        assert engine.inputs[0].name == "x"
        assert engine.inputs[0].shape == (None, 3, None, None)
        assert engine.inputs[0].dtype == np.float32
        assert [spec.name for spec in engine.outputs] == ["classes", "map"]


@backends
@pytest.mark.parametrize("streams", [1, 3])
def test_threads_get_what_a_single_one_gets(network: Path, backend: Backend, streams: int) -> None:
    options = EngineOptions(precision="float32", streams=streams)
    feeds = [pictures(1 + i % 3, 3, 20 + i % 4, 24, seed=i) for i in range(120)]
    with load_engine(network, backend=backend, options=options) as engine:
        serial = [engine.infer({"x": feed}) for feed in feeds]
    with (
        load_engine(network, backend=backend, options=options) as engine,
        ThreadPoolExecutor(4) as pool,
    ):
        parallel = list(pool.map(lambda feed: engine.infer({"x": feed}), feeds))
    for one, other in zip(serial, parallel, strict=True):
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)


@backends
def test_outputs_belong_to_the_caller(network: Path, backend: Backend) -> None:
    with load_engine(network, backend=backend, options=FLOAT32) as engine:
        first = engine.infer({"x": pictures(1, 3, 16, 16, seed=1)})
        kept = {name: array.copy() for name, array in first.items()}
        engine.infer({"x": pictures(1, 3, 16, 16, seed=2)})
        for name, array in first.items():
            np.testing.assert_array_equal(array, kept[name])
            array[...] = 7  # may be written to, and harms nobody
        again = engine.infer({"x": pictures(1, 3, 16, 16, seed=1)})
    for name, array in again.items():
        np.testing.assert_array_equal(array, kept[name])


@backends
def test_a_network_that_passes_its_input_on_does_not_share_it(
    tmp_path: Path, backend: Backend
) -> None:
    path = save(tmp_path, [helper.make_node("Identity", ["x"], ["y"])])
    fed = pictures(1, 3, 4, 4)
    with load_engine(path, backend=backend, options=FLOAT32) as engine:
        found = engine.infer({"x": fed})["y"]
    np.testing.assert_array_equal(found, fed)
    assert not np.shares_memory(found, fed)


@backends
@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "input 'x' is not fed; got nothing"),
        ({"image": pictures(1, 3, 9, 9)}, "input 'x' is not fed; got image"),
        ({"x": pictures(1, 3, 9, 9).astype(np.float64)}, "input 'x' must be float32, not float64"),
        ({"x": pictures(3, 9, 9)}, "input 'x' must be N×3×N×N and not empty, not 3×9×9"),
        ({"x": pictures(1, 4, 9, 9)}, "input 'x' must be N×3×N×N and not empty, not 1×4×9×9"),
        ({"x": pictures(0, 3, 9, 9)}, "input 'x' must be N×3×N×N and not empty, not 0×3×9×9"),
        ({"x": [1.0]}, "input 'x' must be a numpy array, not list"),
        ({"x": pictures(1, 3, 9, 9), "y": pictures(1)}, "no input 'y'; the network has x"),
    ],
)
def test_wrong_feeds_are_named(
    network: Path, backend: Backend, feeds: dict[str, Array], message: str
) -> None:
    with load_engine(network, backend=backend) as engine, pytest.raises(InferenceError) as caught:
        engine.infer(feeds)
    assert message in str(caught.value)


@backends
def test_a_picture_too_small_for_the_network_fails_and_the_next_one_works(
    network: Path, backend: Backend
) -> None:
    with load_engine(network, backend=backend, options=FLOAT32) as engine:
        expected = engine.infer({"x": pictures(1, 3, 16, 16)})["map"]
        with pytest.raises(InferenceError, match=r"small\.onnx"):
            engine.infer({"x": pictures(1, 3, 1, 1)})
        np.testing.assert_array_equal(engine.infer({"x": pictures(1, 3, 16, 16)})["map"], expected)


@backends
def test_a_closed_engine_says_so(network: Path, backend: Backend) -> None:
    engine = load_engine(network, backend=backend)
    engine.close()
    engine.close()
    with pytest.raises(InferenceError, match=r"the engine of small\.onnx is closed"):
        engine.infer({"x": pictures(1, 3, 16, 16)})


@backends
def test_files_that_are_no_network(
    network: Path, tmp_path: Path, backend: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = network.read_bytes()
    contents = {
        "cut.onnx": whole[: len(whole) // 2],
        "text.onnx": b"no network\n",
        "empty.onnx": b"",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelError, match=name) as caught:
            load_engine(path, backend=backend)
        assert "\n" not in str(caught.value)
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ModelError, match="no model file at"):
            load_engine(path, backend=backend)
    assert capfd.readouterr().err == ""


@backends
def test_pictures_cannot_be_fed_to_a_network_without_them(tmp_path: Path, backend: Backend) -> None:
    path = save(tmp_path, [helper.make_node("Identity", ["x"], ["y"])], shape=("n", 5))
    options = EngineOptions(image_input=ImageInput())
    with pytest.raises(ModelError, match="image_input needs a network with one N×3×H×W input"):
        load_engine(path, backend=backend, options=options)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [("onnxruntime", "int8"), ("onnxruntime", "bfloat16"), ("openvino", "int8")],
)
def test_a_precision_that_is_not_there(network: Path, backend: Backend, precision: str) -> None:
    options = EngineOptions(precision=precision)  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=precision):
        load_engine(network, backend=backend, options=options)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, not 0"):
        EngineOptions(threads=0)
    with pytest.raises(ValueError, match="streams must be at least 1, not 0"):
        EngineOptions(streams=0)
    with pytest.raises(ValueError, match="scale must not be 0"):
        ImageInput(scale=0)


def test_one_thread_is_enough(network: Path) -> None:
    options = EngineOptions(precision="float32", threads=1)
    feeds = {"x": pictures(1, 3, 16, 16)}
    with (
        load_engine(network, backend="openvino", options=options) as one,
        load_engine(network, backend="openvino", options=FLOAT32) as all_of_them,
    ):
        np.testing.assert_allclose(
            one.infer(feeds)["map"], all_of_them.infer(feeds)["map"], atol=1e-5
        )


def save(
    folder: Path, nodes: list[onnx.NodeProto], *, shape: tuple[str | int, ...] = ("n", 3, "h", "w")
) -> Path:
    """A network from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "made.onnx"
    onnx.save(model, str(path))
    return path
