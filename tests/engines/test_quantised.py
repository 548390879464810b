"""An int8 network beside the float one: loaded when it is asked for, missed with the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import digest, quantised_file
from facestream.engines.errors import BackendUnavailable, ModelError
from facestream.engines.openvino import OpenVinoEngine
from facestream.engines.options import EngineOptions

INT8 = EngineOptions(precision="int8")


@pytest.fixture
def network_here(network: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(network, tmp_path / "net.onnx"))


def test_without_one_the_command_is_told(network_here: Path) -> None:
    with pytest.raises(BackendUnavailable, match="facestream-train quantise"):
        OpenVinoEngine(network_here, options=INT8)


def test_the_file_beside_is_what_runs(network_here: Path) -> None:
    """Saved as it is, which is enough to see which file is read."""
    ov = pytest.importorskip("openvino")
    file = quantised_file(network_here)
    ov.save_model(ov.Core().read_model(network_here), file, compress_to_fp16=False)
    feeds = {"x": np.random.default_rng(0).uniform(0, 1, (2, 3, 20, 30)).astype(np.float32)}
    with (
        OpenVinoEngine(network_here, options=EngineOptions(precision="float32")) as plain,
        OpenVinoEngine(network_here, options=INT8) as engine,
    ):
        assert engine.precision == "int8"
        for name, array in plain.infer(feeds).items():
            np.testing.assert_allclose(engine.infer(feeds)[name], array, atol=0.1)


def test_a_damaged_one_is_an_error(network_here: Path) -> None:
    quantised_file(network_here).write_bytes(b"<net>")
    quantised_file(network_here).with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot read the network"):
        OpenVinoEngine(network_here, options=INT8)


def test_the_digest_covers_its_files(network_here: Path) -> None:
    plain = digest(network_here, "bfloat16")
    file = quantised_file(network_here)
    file.write_bytes(b"graph")
    file.with_suffix(".bin").write_bytes(b"weights")
    first = digest(network_here, "int8")
    file.with_suffix(".bin").write_bytes(b"other weights")
    assert len({plain, first, digest(network_here, "int8")}) == 3
    assert digest(network_here, "float32") == plain
