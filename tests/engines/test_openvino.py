"""What only the OpenVINO engine does: shapes compiled on their own, and silence."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.base import Array
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.openvino import OpenVinoEngine, capabilities, choose_precision
from facestream.engines.options import EngineOptions

from .conftest import RunPython


def picture(height: int) -> dict[str, Array]:
    return {"x": np.random.default_rng(height).random((1, 3, height, 20), dtype=np.float32)}


def compiled(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "compiled for" in record.message]


def test_a_shape_that_comes_often_is_compiled_once(
    network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "facestream.engines.openvino")
    options = EngineOptions(precision="float32", static_shapes=True)
    with OpenVinoEngine(network, options=options) as engine:
        results = [engine.infer(picture(20))["map"] for _ in range(80)]
        for height in range(30, 60):  # pictures of ever new sizes cost no compilation
            engine.infer(picture(height))
    assert compiled(caplog) == ["small.onnx compiled for ((1, 3, 20, 20),)"]
    for result in results:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


def test_no_more_shapes_are_kept_than_asked_for(
    network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "facestream.engines.openvino")
    options = EngineOptions(precision="float32", static_shapes=True, max_shapes=1)
    with OpenVinoEngine(network, options=options) as engine:
        first = engine.infer(picture(20))["map"]
        for height in (20, 24, 20):
            for _ in range(40):
                last = engine.infer(picture(height))["map"]
    assert len(compiled(caplog)) == 3
    np.testing.assert_allclose(last, first, atol=1e-5)


def test_shapes_are_not_compiled_unless_asked(
    network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "facestream.engines.openvino")
    with OpenVinoEngine(network) as engine:
        for _ in range(80):
            engine.infer(picture(20))
    assert compiled(caplog) == []


def test_auto_is_what_the_processor_has() -> None:
    assert choose_precision("auto") in ("bfloat16", "float32")
    if "BF16" not in capabilities():
        assert choose_precision("auto") == "float32"
    if "FP16" not in capabilities():
        with pytest.raises(
            BackendUnavailable, match="does not compute float16; use auto or float32"
        ):
            choose_precision("float16")


def test_nothing_is_reported_or_written(
    network: Path, tmp_path: Path, run_python: RunPython
) -> None:
    ran = run_python(
        "import sys, socket\n"
        "def refuse(*args): raise SystemExit('opened a connection')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from facestream.engines.registry import load_engine\n"
        f"engine = load_engine(Path({str(network)!r}), backend='openvino')\n"
        "engine.infer({'x': np.zeros((1, 3, 20, 20), np.float32)})\n"
        "print(sorted({'torch', 'onnx', 'openvino_telemetry', 'requests'} & set(sys.modules)))"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("batch", [8, 9, 17])
def test_a_large_batch_in_two_requests_gives_the_same(network: Path, batch: int) -> None:
    rng = np.random.default_rng(batch)
    feeds = {"x": rng.uniform(0, 255, (batch, 3, 20, 30)).astype(np.float32)}
    two = EngineOptions(precision="float32", threads=2)
    with (
        OpenVinoEngine(network, options=two) as halving,
        OpenVinoEngine(network, options=replace(two, threads=1)) as whole,
        ThreadPoolExecutor(4) as pool,
    ):
        expected = whole.infer(feeds)
        for found in pool.map(lambda _: halving.infer(feeds), range(8)):
            for name, array in expected.items():
                np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)
    with pytest.raises(InferenceError, match="is closed"):
        halving.infer(feeds)


def test_a_large_batch_of_a_wrong_size_fails_and_the_next_is_served(network: Path) -> None:
    options = EngineOptions(precision="float32", threads=2)
    with OpenVinoEngine(network, options=options) as engine:
        with pytest.raises(InferenceError):
            engine.infer({"x": np.zeros((8, 3, 1, 1), np.float32)})
        good = {"x": np.ones((8, 3, 20, 30), np.float32)}
        assert np.isfinite(engine.infer(good)["map"]).all()
