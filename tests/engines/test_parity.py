"""The same network gives the same numbers in every backend; ONNX Runtime is the judge."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.base import Array
from facestream.engines.cards import list_cards, model_path
from facestream.engines.options import Backend, EngineOptions, ImageInput
from facestream.engines.registry import load_engine

onnxruntime: Any = importlib.import_module("onnxruntime")  # has no type hints

BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime")
# Their inputs are codes, not images.
GENERATOR = ("vae_appearance", "vae_decoder")
NETWORKS = [
    card.name for card in list_cards() if card.file.endswith(".onnx") and card.name not in GENERATOR
]
SIZES = {"mtcnn_pnet": (61, 50), "mtcnn_rnet": (24, 24), "mtcnn_onet": (48, 48)}
FLOAT32 = EngineOptions(precision="float32")


def judge(path: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # SFace lists its weights as inputs: 170 warnings
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def pictures(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def compare(path: Path, backend: Backend, size: tuple[int, int]) -> None:
    with load_engine(path, backend=backend, options=FLOAT32) as engine:
        assert engine.precision == "float32"
        assert engine.backend == backend
        spec = engine.inputs[0]
        feeds = {spec.name: pictures((spec.shape[0] or 3, 3, *size))}
        found = engine.infer(feeds)
        assert list(found) == [item.name for item in engine.outputs]
    expected = judge(path, feeds)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        scale = max(float(np.abs(array).max()), 1.0)
        np.testing.assert_allclose(found[name], array, atol=1e-5 * scale, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(12, 12), (31, 40), (40, 31)])
def test_small_network(network: Path, backend: Backend, size: tuple[int, int]) -> None:
    compare(network, backend, size)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_ship(name: str, backend: Backend) -> None:
    compare(model_path(name), backend, SIZES.get(name, (112, 112)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GENERATOR)
def test_generator(name: str, backend: Backend) -> None:
    path = model_path(name)
    rng = np.random.default_rng(0)
    with load_engine(path, backend=backend, options=FLOAT32) as engine:
        feeds: dict[str, Array] = {
            spec.name: rng.uniform(-1, 1, [size or 3 for size in spec.shape]).astype(np.float32)
            for spec in engine.inputs
        }
        found = engine.infer(feeds)
    for key, array in judge(path, feeds).items():
        np.testing.assert_allclose(found[key], array, atol=1e-3, rtol=1e-3, err_msg=key)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sface(shared_data: Path, backend: Backend) -> None:
    path = shared_data / "models" / "face_recognition_sface_2021dec.onnx"
    compare(path, backend, (112, 112))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", ["BGR", "RGB"])
def test_pictures_are_converted_on_the_device(
    network: Path, backend: Backend, channels: str
) -> None:
    image = ImageInput(channels="BGR", network_channels=channels, mean=127.5, scale=128)  # type: ignore[arg-type]
    rng = np.random.default_rng(2)
    fed = rng.integers(0, 256, (2, 20, 30, 3), np.uint8)
    planes = fed if channels == "BGR" else fed[..., ::-1]
    by_hand = (planes.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128
    options = EngineOptions(precision="float32", image_input=image)
    with load_engine(network, backend=backend, options=options) as engine:
        assert engine.inputs[0].shape == (None, None, None, 3)
        assert engine.inputs[0].dtype == np.uint8
        found = engine.infer({"x": fed})
    expected = judge(network, {"x": np.ascontiguousarray(by_hand)})
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_memory_layout_is_read_and_none_is_written(network: Path, backend: Backend) -> None:
    plain = pictures((2, 3, 20, 30))
    views = {
        "read-only": plain.copy(),
        "transposed": np.ascontiguousarray(plain.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "mirrored": np.ascontiguousarray(plain[..., ::-1])[..., ::-1],
    }
    views["read-only"].flags.writeable = False
    with load_engine(network, backend=backend, options=FLOAT32) as engine:
        expected = engine.infer({"x": plain})["map"]
        for name, view in views.items():
            np.testing.assert_array_equal(engine.infer({"x": view})["map"], expected, name)
            np.testing.assert_array_equal(view, plain, name)


@pytest.mark.usefixtures("bfloat16_cpu")
def test_bfloat16_keeps_the_direction_of_embeddings() -> None:
    feeds = {"faces": pictures((4, 3, 112, 112))}
    embeddings = []
    for precision in ("float32", "bfloat16"):
        options = EngineOptions(precision=precision)
        with load_engine(model_path("vae_encoder"), options=options) as engine:
            assert engine.precision == precision
            mu = engine.infer(feeds)["mu"]
        embeddings.append(mu / np.linalg.norm(mu, axis=1, keepdims=True))
    assert (embeddings[0] * embeddings[1]).sum(axis=1).min() > 0.99


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_on_cuda(onnxruntime_cuda: None, name: str) -> None:
    path = model_path(name)
    with load_engine(path, backend="onnxruntime") as engine:
        assert engine.device.startswith("cuda")
    compare(path, "onnxruntime", SIZES.get(name, (112, 112)))
