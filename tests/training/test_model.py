"""Shapes of the model, SFace's weights in it, and its export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.training.errors import TrainingError
from facestream.training.export.card import make_card
from facestream.training.export.encoder_onnx import export_encoder, parity
from facestream.training.models.backbones import BackboneName, make_backbone
from facestream.training.models.sface import load_sface
from facestream.training.models.vae import Vae, VaeEncoder, make_vae


@pytest.mark.parametrize("name", ["mobile", "residual"])
def test_shapes(name: BackboneName) -> None:
    model = make_vae(name, dim=16).eval()
    with torch.no_grad():
        made, mu, logvar = model(torch.rand(2, 3, 112, 112) * 255)
    assert made.shape == (2, 3, 112, 112)
    assert made.abs().max() <= 1.0
    assert mu.shape == logvar.shape == (2, 16)


def test_unknown_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="no backbone is called 'huge'"):
        make_backbone("huge")  # type: ignore[arg-type]


def test_uncertainty_does_not_train_the_identity() -> None:
    model = make_vae("residual", dim=8)
    _, logvar = model.encoder(torch.rand(2, 3, 112, 112) * 255)
    torch.autograd.backward(logvar.sum())
    assert model.encoder.mu_head.dense.weight.grad is None
    assert model.encoder.logvar_head.out.weight.grad is not None


def test_calibration_standardises_the_statistics() -> None:
    head = make_vae("residual", dim=8).encoder.logvar_head
    examples = torch.randn(500, head.hidden.in_features) * 3 + 5
    head.calibrate(examples)
    scaled = (examples - head.centre) * head.scale
    torch.testing.assert_close(scaled.mean(0), torch.zeros_like(scaled[0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0), torch.ones_like(scaled[0]), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def shaken() -> VaeEncoder:
    """A residual encoder whose batch norms and heads are not at their start."""
    torch.manual_seed(1)
    model: Vae = make_vae("residual")
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model.encoder(torch.rand(8, 3, 112, 112) * 255)
        model.encoder.logvar_head.calibrate(
            torch.randn(64, model.encoder.logvar_head.hidden.in_features) * 0.5 + 0.2
        )
        torch.nn.init.normal_(model.encoder.logvar_head.out.weight, std=0.3)
    return model.encoder.eval()


def test_export_agrees_with_torch(shaken: VaeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    assert export_encoder(shaken, path) >= 0.9995
    faces = np.random.default_rng(0).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    assert parity(shaken, path, faces) >= 0.9995
    with torch.no_grad():
        mu, logvar = (t.numpy() for t in shaken(torch.from_numpy(faces)))
    with load_engine(path, options=EngineOptions(precision="float32")) as engine:
        assert [o.name for o in engine.outputs] == ["mu", "logvar"]
        out = engine.infer({"faces": faces})
        one = engine.infer({"faces": faces[:1]})
    np.testing.assert_allclose(out["logvar"], logvar, atol=0.02)
    np.testing.assert_allclose(out["mu"], mu, atol=0.02 * np.abs(mu).max())
    np.testing.assert_allclose(one["mu"], out["mu"][:1], atol=1e-4)


def test_export_stores_halves_and_no_paths(shaken: VaeEncoder, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    export_encoder(shaken, path)
    graph = onnx.load(path).graph
    large = [i for i in graph.initializer if np.prod(i.dims) >= 1024]
    assert large
    assert all(i.data_type == onnx.TensorProto.FLOAT16 for i in large)
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)
    assert b"training/" not in path.read_bytes()


def test_export_that_disagrees_leaves_no_file(
    shaken: VaeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facestream.training.export.encoder_onnx.parity", lambda *args: 0.9)
    with pytest.raises(TrainingError, match="differ from torch's"):
        export_encoder(shaken, tmp_path / "small.onnx")
    assert list(tmp_path.iterdir()) == []


def test_card_speaks_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vae_encoder.onnx"
    file.write_bytes(b"weights")
    card = make_card(file, backbone="mobile", dim=128, metrics={}, thresholds=None)
    assert card.sha256[:8] in card.id
    assert [o.name for o in card.outputs] == ["mu", "logvar"]
    assert "non-commercial" in card.licence


def test_sface_rebuilt_equals_its_graph(shared_data: Path) -> None:
    teacher = shared_data / "models/face_recognition_sface_2021dec.onnx"
    encoder = make_vae("mobile").encoder.eval()
    load_sface(encoder, teacher)
    faces = np.random.default_rng(0).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    with load_engine(teacher, options=EngineOptions(precision="float32")) as engine:
        wanted = np.concatenate(
            [next(iter(engine.infer({"data": f[None]}).values())) for f in faces]
        )
    with torch.no_grad():
        found = encoder(torch.from_numpy(faces))[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_sface_needs_its_own_trunk_and_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'mobile' backbone only"):
        load_sface(make_vae("residual").encoder, tmp_path / "sface.onnx")
    with pytest.raises(TrainingError, match="is missing"):
        load_sface(make_vae("mobile").encoder, tmp_path / "sface.onnx")
