"""The shipped networks are what the script makes of facenet-pytorch's weights."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import MODELS, load_card, read_card, verify
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.training.export import mtcnn as export_mtcnn

from tests.peers import facenet_pytorch

pytestmark = pytest.mark.peer

torch = pytest.importorskip("torch")

SHAPES = {"pnet": [(1, 3, 12, 12), (2, 3, 57, 91), (3, 3, 40, 40)], "rnet": [(5, 3, 24, 24)]}
SHAPES["onet"] = [(5, 3, 48, 48)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "models"
    assert export_mtcnn.main(["--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("net", export_mtcnn.NETS)
def test_a_second_export_is_the_same(exported: Path, net: str) -> None:
    name = f"mtcnn_{net}"
    assert read_card(exported / f"{name}.json") == load_card(name)
    assert verify(read_card(exported / f"{name}.json"), exported).is_file()
    assert (exported / f"{name}.onnx").read_bytes() == (MODELS / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("net", export_mtcnn.NETS)
def test_the_networks_compute_what_facenet_pytorch_s_do(net: str) -> None:
    module = getattr(facenet_pytorch(), {"pnet": "PNet", "rnet": "RNet", "onet": "ONet"}[net])()
    engine = load_engine(
        MODELS / f"mtcnn_{net}.onnx", backend="openvino", options=EngineOptions(precision="float32")
    )
    rng = np.random.default_rng(0)
    for shape in SHAPES[net]:
        rgb = rng.uniform(0, 255, shape).astype(np.float32)
        with torch.no_grad():
            offsets, *points, softmax = module((torch.from_numpy(rgb) - 127.5) * 0.0078125)
        bgr = np.ascontiguousarray(rgb[:, ::-1])
        ours = engine.infer({engine.inputs[0].name: bgr})[engine.outputs[0].name]
        probability = 1 / (1 + np.exp(-ours[:, 0]))
        assert probability == pytest.approx(softmax[:, 1].numpy(), abs=1e-5)
        assert ours[:, 1:5] == pytest.approx(offsets.numpy(), abs=1e-5)
        if net == "onet":
            assert ours[:, 5:] == pytest.approx(points[0].numpy(), abs=1e-5)
    engine.close()


def test_without_the_weights_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert export_mtcnn.main(["--out", str(tmp_path)]) == 2
    assert "pip install --no-deps facenet-pytorch==2.5.3" in caplog.text


def test_the_peer_leaves_torchvision_as_it_was() -> None:
    before = sorted(name for name in sys.modules if name.startswith("torchvision"))
    facenet_pytorch.cache_clear()
    assert facenet_pytorch().MTCNN.__module__.startswith("facenet_pytorch")
    assert sorted(name for name in sys.modules if name.startswith("torchvision")) == before
