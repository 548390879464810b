"""The gates let the real networks pass, and refuse what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facestream.engines.base import Array, Engine
from facestream.engines.cards import checksum, model_path
from facestream.engines.closing import Closing
from facestream.engines.errors import ParityRefused
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.registry import load_engine
from facestream.engines.serving import serve
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.detection.mtcnn.parity import NETWORKS, NetworkGate, compare, scenes
from facestream.pipeline.recognition import parity as reference
from facestream.pipeline.recognition.encoder import encoder_options
from facestream.pipeline.recognition.parity import (
    DecoderGate,
    EncoderGate,
    EncoderOutputs,
    gate_faces,
    rank_correlation,
)
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from scipy.stats import spearmanr

ENCODER = model_path("vae_encoder")
FLOAT32 = EngineOptions(precision="float32")


class Given(Closing):
    """EncoderOutputs of an encoder, changed on their way."""

    def __init__(self, outputs: EncoderOutputs, change: Any) -> None:
        like = load_engine(ENCODER, options=FLOAT32)
        self.inputs, self.outputs = like.inputs, like.outputs
        like.close()
        self.backend, self.device, self.precision = "fake", "CPU", "bfloat16"
        self._mu, self._logvar = change(outputs.mu.copy(), outputs.logvar.copy())
        self._at = 0

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Floats]:
        rows = slice(self._at, self._at + len(feeds["faces"]))
        self._at = rows.stop
        return {"mu": self._mu[rows], "logvar": self._logvar[rows]}

    def close(self) -> None:
        """Nothing to free."""


def judge(change: Any) -> Any:
    return EncoderGate(ENCODER).judge(Given(reference.reference(ENCODER), change))


def test_the_faces_are_the_same_each_time_and_span_the_doubt() -> None:
    faces = gate_faces()
    assert faces.shape == (64, 112, 112, 3)
    assert faces.dtype == np.uint8
    assert not faces.flags.writeable
    np.testing.assert_array_equal(faces, gate_faces.__wrapped__())
    doubt = np.exp(reference.reference(ENCODER).logvar.mean(axis=1) / 2)
    assert doubt.max() / doubt.min() > 1.4


def test_the_reference_that_ships_is_the_encoders_own() -> None:
    assert reference.shipped_reference(checksum(ENCODER)) is not None
    shipped = reference.reference(ENCODER)
    with load_engine(ENCODER, backend="openvino", options=FLOAT32) as engine:
        now = reference.run_encoder(engine, gate_faces())
    np.testing.assert_allclose(shipped.mu, now.mu, atol=1e-3)
    np.testing.assert_allclose(shipped.logvar, now.logvar, atol=1e-3)


def test_another_network_has_a_reference_of_its_own() -> None:
    assert reference.shipped_reference("0" * 64) is None


HALVES = [
    Serving(backend="onnxruntime", device="cpu", precision="float16"),
    Serving(backend="openvino", precision="bfloat16"),
]


@pytest.mark.parametrize("serving", HALVES, ids=lambda serving: serving.precision)
def test_half_precision_passes(serving: Serving, request: pytest.FixtureRequest) -> None:
    if serving.precision == "bfloat16":
        request.getfixturevalue("bfloat16_cpu")
    options = replace(encoder_options(112, 32), precision=serving.precision)
    with serve(ENCODER, serving=serving, options=options) as engine:
        assert engine.precision == serving.precision
        verdict = EncoderGate(ENCODER).judge(engine)
    assert verdict.passed, verdict
    assert verdict.figures["cosine_min"] >= 0.999
    assert verdict.figures["sigma_rank"] >= 0.99


def _noisy(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    return mu + rng.normal(0, 0.1 * mu.std(), mu.shape).astype(np.float32), logvar


def _one_bad(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    mu[17] = mu[18]
    return mu, logvar


def _scrambled(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    return mu, logvar[np.random.default_rng(0).permutation(len(logvar))]


def _constant(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    return mu, np.zeros_like(logvar)


def _nan_mu(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    mu[5, 3] = np.nan
    return mu, logvar


def _nan_sigma(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    logvar[5, 3] = np.nan
    return mu, logvar


def _infinite(mu: Floats, logvar: Floats) -> tuple[Floats, Floats]:
    mu[5] = np.inf
    return mu, logvar


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        (_noisy, "cosine_min"),
        (_one_bad, "cosine_min"),
        (_scrambled, "sigma_rank"),
        (_constant, "sigma_rank"),
        (_nan_mu, "finite"),
        (_nan_sigma, "finite"),
        (_infinite, "finite"),
    ],
)
def test_changed_outputs_are_refused(change: Any, figure: str) -> None:
    verdict = judge(change)
    assert not verdict.passed
    assert any(reason.startswith(f"{figure} is ") for reason in verdict.refused), verdict
    assert verdict.figures.keys() >= {"finite", "cosine_min", "sigma_rank"}


def test_the_same_outputs_pass() -> None:
    verdict = judge(lambda mu, logvar: (mu, logvar))
    assert verdict.passed
    assert verdict.figures["sigma_rank"] == pytest.approx(1)


def spoilt(tmp_path: Path, name: str, change: Any) -> Path:
    """A network that ships, the weights of its layers changed."""
    model = onnx.load(str(model_path(name)))
    for weights in [item for item in model.graph.initializer if len(item.dims) > 1]:
        array = np.array(numpy_helper.to_array(weights))
        changed = change(array.astype(np.float32)).astype(array.dtype)
        weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
    path = tmp_path / f"{name}.onnx"
    onnx.save(model, str(path))
    return path


def _perturbed(array: Any) -> Any:
    noise = np.random.default_rng(0).standard_normal(array.shape, np.float32)
    return array + 0.2 * array.std() * noise


def _with_nan(array: Any) -> Any:
    array[0] = np.nan
    return array


@pytest.mark.parametrize("change", [_perturbed, _with_nan])
@pytest.mark.parametrize("serving", HALVES, ids=lambda serving: serving.precision)
def test_an_encoder_with_other_weights_does_not_serve(
    tmp_path: Path, change: Any, serving: Serving, request: pytest.FixtureRequest
) -> None:
    if serving.precision == "bfloat16":
        request.getfixturevalue("bfloat16_cpu")
    path = spoilt(tmp_path, "vae_encoder", change)
    options, gate = encoder_options(112, 32), EncoderGate(ENCODER)
    refused = rf"vae_encoder in {serving.precision} .*(cosine_min|finite) is"
    with pytest.raises(ParityRefused, match=refused):
        serve(path, serving=replace(serving, cache=tmp_path), options=options, gate=gate)


@pytest.mark.usefixtures("fast_bfloat16_cpu")
def test_float32_serves_where_bfloat16_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = spoilt(tmp_path, "vae_encoder", _perturbed)
    options, gate = encoder_options(112, 32), EncoderGate(ENCODER)
    cache = tmp_path / "cache"
    with serve(path, serving=Serving(cache=cache), options=options, gate=gate) as engine:
        assert engine.precision == "float32"
    assert "refused by the parity gate" in caplog.text


@pytest.mark.parametrize("network", NETWORKS)
def test_the_detectors_networks(tmp_path: Path, network: Any) -> None:
    gate = NetworkGate(network)
    with load_engine(model_path(network), options=FLOAT32) as engine:
        passed = gate.judge(engine)
    assert passed.passed
    assert passed.figures["iou_min"] == pytest.approx(1)
    with load_engine(spoilt(tmp_path, network, _perturbed), options=FLOAT32) as engine:
        assert not gate.judge(engine).passed


def test_all_faces_of_the_scenes_are_clear() -> None:
    """A face at the edge of being one would be missed by an engine that is as good."""
    from facestream.pipeline.detection.mtcnn.detector import Mtcnn

    with Mtcnn(mode="exact", min_face=20, serving=Serving(threads=1)) as detector:
        found: list[Faces] = detector.detect_batch(list[Image](scenes()))
    assert [len(faces) for faces in found] == [1, 1, 7]
    assert min(faces.scores.min() for faces in found) > 0.95


def test_boxes_are_matched_one_to_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)
    assert compare([boxes[::-1]], [boxes]).passed
    nothing = np.zeros((0, 4), np.float32)
    missed = compare([boxes[:1]], [boxes])
    assert missed.refused == ("1 missing",)
    more = compare([np.concatenate([boxes, boxes[:1] + 50])], [boxes])
    assert more.refused == ("1 extra",)
    twice = compare([boxes[[0, 0]]], [boxes])
    assert twice.refused == ("1 missing", "1 extra")
    assert not compare([nothing], [boxes]).passed
    assert not compare([boxes * np.float32(np.nan)], [boxes]).passed
    moved = compare([boxes + np.float32(0.3)], [boxes])
    assert moved.refused[0].startswith("iou_min is 0.8")


def test_the_decoder(tmp_path: Path) -> None:
    path = model_path("vae_decoder")
    gate = DecoderGate(path)
    engine: Engine
    with load_engine(path, options=EngineOptions()) as engine:
        assert gate.judge(engine).passed
    with load_engine(spoilt(tmp_path, "vae_decoder", _perturbed), options=FLOAT32) as engine:
        verdict = gate.judge(engine)
    assert any("psnr_min is" in reason for reason in verdict.refused), verdict


@given(st.lists(st.integers(0, 5), min_size=2, max_size=30), st.randoms())
def test_rank_correlation_is_spearmans(values: list[int], random: Any) -> None:
    others = [value + random.randint(0, 3) for value in values]
    a, b = np.array(values, np.float64), np.array(others, np.float64)
    found = rank_correlation(a, b)
    if len(set(values)) == 1 or len(set(others)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(float(spearmanr(a, b)[0]))
