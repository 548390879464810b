"""What only the OpenVINO engine does: streams, batches in halves, and silence."""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines import openvino as module
from facestream.engines.errors import BackendUnavailable, InferenceError
from facestream.engines.openvino import OpenVinoEngine, capabilities, choose_precision
from facestream.engines.options import EngineOptions

from .conftest import RunPython

openvino: Any = importlib.import_module("openvino")  # has no type hints


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


def test_streams_share_one_compiled_network(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 callers: one compilation, and the results of a single caller."""
    compiled: list[str] = []
    core = type(openvino.Core())
    compile_model = core.compile_model

    def counted(self: Any, *arguments: Any, **more: Any) -> Any:
        compiled.append("once")
        return compile_model(self, *arguments, **more)

    monkeypatch.setattr(core, "compile_model", counted)
    feeds = {"x": np.random.default_rng(0).random((9, 3, 20, 30), dtype=np.float32)}
    options = EngineOptions(precision="float32", threads=2, streams=64)
    with OpenVinoEngine(network, options=options) as engine, ThreadPoolExecutor(64) as pool:
        expected, *others = pool.map(lambda _: engine.infer(feeds)["map"], range(256))
    for found in others:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert compiled == ["once"]


@pytest.mark.parametrize(("quota", "threads"), [(1, 1), (64, None)])
def test_a_cpu_quota_limits_the_threads(
    network: Path, monkeypatch: pytest.MonkeyPatch, quota: int, threads: int | None
) -> None:
    """Without a quota OpenVINO chooses by itself."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(module, "usable_cpus", lambda: quota)
    configs: list[dict[str, Any]] = []
    core = type(openvino.Core())
    compile_model = core.compile_model

    def noted(self: Any, model: Any, device: str, config: dict[str, Any]) -> Any:
        configs.append(config)
        return compile_model(self, model, device, config)

    monkeypatch.setattr(core, "compile_model", noted)
    with OpenVinoEngine(network, options=EngineOptions(precision="float32")) as engine:
        engine.infer({"x": np.zeros((1, 3, 20, 20), np.float32)})
    assert [config.get("INFERENCE_NUM_THREADS") for config in configs] == [threads]


def test_an_error_on_one_thread_does_not_crash_the_next_network(
    network: Path, run_python: RunPython
) -> None:
    """Seen with OpenVINO 2026.4 on one CPU: a segmentation fault in the second engine."""
    ran = run_python(
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from facestream.engines.errors import InferenceError\n"
        "from facestream.engines.options import EngineOptions\n"
        "from facestream.engines.openvino import OpenVinoEngine\n"
        "for _ in range(3):\n"
        "    for threads in (None, 1):\n"
        "        options = EngineOptions(precision='float32', threads=threads)\n"
        f"        with OpenVinoEngine(Path({str(network)!r}), options=options) as engine:\n"
        "            engine.infer({'x': np.ones((1, 3, 16, 16), np.float32)})\n"
        "            try: engine.infer({'x': np.ones((1, 3, 1, 1), np.float32)})\n"
        "            except InferenceError: print('refused')\n"
        "            engine.infer({'x': np.ones((1, 3, 16, 16), np.float32)})\n"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["refused"] * 6
