"""What serves: the fastest that passes its gate, or the one asked for and no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facestream.engines import serving as module
from facestream.engines.base import Engine
from facestream.engines.devices import CudaDevice
from facestream.engines.errors import BackendUnavailable, ModelError, ParityRefused
from facestream.engines.options import EngineOptions, Serving, ShapeRange
from facestream.engines.registry import BackendStatus
from facestream.engines.serving import serve
from facestream.engines.switching import SwitchingEngine

from .fakes_parity import Fake, FakeGate

CARD = CudaDevice(0, "a card", (8, 6), 8 << 30)
OPENVINO = BackendStatus("openvino", True, "openvino 1, a CPU", "cpu")
ORT_CUDA = BackendStatus("onnxruntime", True, "onnxruntime 1, a card", "cuda")
TENSORRT = BackendStatus("tensorrt", True, "tensorrt 11, a card", "cuda")
NO_CARD = BackendStatus("tensorrt", False, "no CUDA device: no NVIDIA driver", "cuda")
SHAPES = ShapeRange((1, 3), (8, 3), (32, 3))


class Machine:
    """Backends that are there, and what was loaded."""

    def __init__(self) -> None:
        self.backends: list[BackendStatus] = [NO_CARD, OPENVINO]
        self.loaded: list[Fake] = []
        self.failing: dict[str, Exception] = {}

    def candidates(self, backend: str = "auto", *, device: str = "auto") -> Iterator[BackendStatus]:
        return (
            status
            for status in self.backends
            if backend in ("auto", status.name) and device in ("auto", status.device)
        )

    def precisions(self, name: str, device: str) -> tuple[str, ...]:
        return ("float16" if device == "cuda" else "bfloat16", "float32")

    def load(self, path: Path, *, backend: str, options: EngineOptions, **_: object) -> Engine:
        if backend in self.failing:
            raise self.failing[backend]
        device = "cuda:0" if options.device == "cuda" else "CPU"
        engine = Fake(options.precision, device=device, backend=backend)
        self.loaded.append(engine)
        return engine

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(engine.backend, engine.precision) for engine in self.loaded]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(module, "candidates", found.candidates)
    monkeypatch.setattr(module, "precisions", found.precisions)
    monkeypatch.setattr(module, "load_engine", found.load)
    monkeypatch.setattr(module, "_logged", set())
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"a network")
    return file


def test_the_fastest_that_passes_serves_and_says_so(
    machine: Machine, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=module.__name__)
    engine = serve(path, serving=Serving(cache=tmp_path), gate=FakeGate())
    assert engine.precision == "bfloat16"
    (line,) = (record.getMessage() for record in caplog.records)
    assert "net runs on openvino" in line
    assert "CPU, bfloat16" in line
    assert "no NVIDIA driver" in line
    assert "cosine_min 0.9999" in line


def test_what_is_refused_is_closed_and_the_next_precision_serves(
    machine: Machine, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = FakeGate("bfloat16")
    for _ in range(2):  # as the lanes of a detector do: one warning
        engine: Any = serve(path, serving=Serving(cache=tmp_path), gate=gate)
        assert engine.precision == "float32"
        assert "cosine_min is 0.5" in engine.reason
    assert [fake.closed for fake in machine.loaded] == [True, False] * 2
    assert gate.asked == ["bfloat16"]  # float32 on a CPU is the reference's own arithmetic
    (warning,) = (r.getMessage() for r in caplog.records if r.levelno == logging.WARNING)
    assert "bfloat16 on openvino" in warning
    assert "cosine_min is 0.5, not 0.999 or more" in warning
    assert warning.endswith("float32 serves")


@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_a_precision_that_was_asked_for_is_refused_with_the_figures(
    machine: Machine, path: Path, tmp_path: Path, backend: Any
) -> None:
    serving = Serving(backend=backend, precision="bfloat16", cache=tmp_path)
    with pytest.raises(ParityRefused, match=r"net in bfloat16 .*cosine_min is 0\.5"):
        serve(path, serving=serving, gate=FakeGate("bfloat16"))
    assert all(fake.closed for fake in machine.loaded)


def test_a_backend_that_was_asked_for_is_refused_when_nothing_of_it_passes(
    machine: Machine, path: Path, tmp_path: Path
) -> None:
    machine.backends = [ORT_CUDA, OPENVINO]
    serving = Serving(backend="onnxruntime", cache=tmp_path)
    with pytest.raises(ParityRefused, match="float32 on onnxruntime"):
        serve(path, serving=serving, gate=FakeGate("float16", "float32"))
    assert machine.names == [("onnxruntime", "float16"), ("onnxruntime", "float32")]


def test_auto_goes_on_to_the_next_backend(
    machine: Machine, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.backends = [ORT_CUDA, OPENVINO]
    engine: Any = serve(path, serving=Serving(cache=tmp_path), gate=FakeGate("float16", "float32"))
    assert engine.backend == "openvino"
    assert "refused by the parity gate" in engine.reason
    assert any("onnxruntime does not serve net" in r.getMessage() for r in caplog.records)


def test_a_card_that_fails_is_passed_over_by_auto_alone(machine: Machine, path: Path) -> None:
    machine.backends = [ORT_CUDA, OPENVINO]
    machine.failing["onnxruntime"] = BackendUnavailable("out of memory")
    engine: Any = serve(path, serving=Serving())
    assert engine.backend == "openvino"
    assert engine.reason == "out of memory"
    with pytest.raises(BackendUnavailable, match="out of memory"):
        serve(path, serving=Serving(backend="onnxruntime"))
    with pytest.raises(BackendUnavailable, match="out of memory"):
        serve(path, serving=Serving(device="cuda"))


def test_who_is_strict_leaves_no_card_unused(
    machine: Machine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.backends = [
        BackendStatus("onnxruntime", False, "onnxruntime has no CUDA", "cuda"),
        OPENVINO,
    ]
    serve(path, serving=Serving(strict=True)).close()  # there is no card
    monkeypatch.setattr(module, "cuda_devices", lambda: [CARD])
    with pytest.raises(BackendUnavailable, match=r"a card .*unused \(onnxruntime has no CUDA\)"):
        serve(path, serving=Serving(strict=True))
    assert machine.loaded[-1].closed
    serve(path, serving=Serving(strict=True, device="cpu")).close()
    serve(path, serving=Serving(strict=True, backend="openvino")).close()
    serve(path, serving=Serving()).close()


def test_without_a_usable_backend_all_reasons_are_told(machine: Machine, path: Path) -> None:
    machine.backends = [NO_CARD]
    with pytest.raises(BackendUnavailable, match=r"net: no CUDA device: no NVIDIA driver"):
        serve(path, serving=Serving(device="cuda"))


def test_a_damaged_file_is_told_at_once(machine: Machine, path: Path, tmp_path: Path) -> None:
    machine.failing["openvino"] = ModelError("damaged")
    machine.backends.append(BackendStatus("onnxruntime", True, "onnxruntime", "cpu"))
    with pytest.raises(ModelError, match="damaged"):
        serve(path, serving=Serving())
    with pytest.raises(ModelError, match="no model file"):
        serve(tmp_path / "none.onnx", serving=Serving())


def test_while_a_plan_is_built_the_next_backend_serves(machine: Machine, path: Path) -> None:
    machine.backends = [TENSORRT, OPENVINO]
    options = EngineOptions(shapes=SHAPES)
    engine = serve(path, serving=Serving(), options=options, gate=FakeGate(key="switch"))
    assert isinstance(engine, SwitchingEngine)
    with engine:
        assert engine.wait(20)
        assert (engine.backend, engine.precision) == ("tensorrt", "float16")
        assert machine.names[0] == ("openvino", "bfloat16")
    assert all(fake.closed for fake in machine.loaded)


def test_a_plan_that_is_refused_never_serves(
    machine: Machine, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine.backends = [TENSORRT, OPENVINO]
    gate = FakeGate("float16", "float32", key="plan refused")
    options = EngineOptions(shapes=SHAPES)
    engine = serve(path, serving=Serving(), options=options, gate=gate)
    assert isinstance(engine, SwitchingEngine)
    with engine:
        assert engine.wait(20)
        assert engine.state == "stayed"
        assert engine.backend == "openvino"
        assert "cosine_min is 0.5" in engine.reason


@pytest.mark.parametrize(
    "serving",
    [Serving(building="wait"), Serving(strict=True), Serving(backend="tensorrt")],
    ids=["wait", "strict", "asked for"],
)
def test_others_wait_for_the_plan(machine: Machine, path: Path, serving: Serving) -> None:
    machine.backends = [TENSORRT, OPENVINO]
    options = EngineOptions(shapes=SHAPES)
    engine = serve(path, serving=serving, options=options, gate=FakeGate(key="waiting"))
    assert not isinstance(engine, SwitchingEngine)
    assert machine.names == [("tensorrt", "float16")]


def test_no_plan_for_shapes_nobody_knows(machine: Machine, path: Path) -> None:
    machine.backends = [TENSORRT, OPENVINO]
    assert serve(path, serving=Serving()).backend == "openvino"


def test_precisions_without_a_gate(machine: Machine, path: Path) -> None:
    """What may be rounded freely is the backend's choice, unless float32 is asked for."""
    serve(path, serving=Serving(precision="int8"))
    serve(path, serving=Serving(precision="float32"))
    serve(path, serving=Serving(), options=EngineOptions(precision="float32"))
    assert [engine.precision for engine in machine.loaded] == ["auto", "float32", "float32"]


def test_an_int8_network_is_tried_first_where_there_is_one(
    machine: Machine, path: Path, tmp_path: Path
) -> None:
    for suffix in (".int8.xml", ".int8.bin"):
        path.with_suffix(suffix).write_bytes(b"quantised")
    gate = FakeGate("int8")
    serving = Serving(cache=tmp_path / "cache")
    assert serve(path, serving=serving, gate=gate).precision == "bfloat16"
    assert serve(path, serving=serving, gate=gate).precision == "bfloat16"
    assert gate.asked == ["int8", "bfloat16"]
    # Another int8 file is another engine.
    path.with_suffix(".int8.bin").write_bytes(b"quantised anew")
    serve(path, serving=serving, gate=gate)
    assert gate.asked == ["int8", "bfloat16", "int8"]


def test_all_that_cannot_serve_says_why(machine: Machine, path: Path) -> None:
    machine.backends = [ORT_CUDA, OPENVINO]
    machine.failing = {
        "onnxruntime": BackendUnavailable("onnxruntime has no int8"),
        "openvino": BackendUnavailable("there is no int8 version of net"),
    }
    with pytest.raises(BackendUnavailable, match=r"runtime has no int8; there is no int8 version"):
        serve(path, serving=Serving(precision="int8"), gate=FakeGate())
