"""Which backend serves, and the reason given for it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from facestream.engines import onnxruntime
from facestream.engines.devices import DriverReport
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import Backend, Device
from facestream.engines.registry import backend_status, choose_backend, load_engine, precisions

from .conftest import RunPython


def test_auto_takes_openvino_and_says_why() -> None:
    choice = choose_backend(device="cpu")
    assert choice.name == "openvino"
    assert choice.reason.startswith("auto: the first that works here (openvino 20")
    assert "\n" not in choice.reason


def test_the_one_asked_for_serves(network: Path) -> None:
    assert choose_backend("onnxruntime").reason.startswith("asked for (onnxruntime ")
    with load_engine(network, backend="onnxruntime") as engine:
        assert engine.backend == "onnxruntime"


def test_torch_is_the_old_name_of_onnxruntime(network: Path) -> None:
    assert choose_backend("torch").name == "onnxruntime"
    with load_engine(network, backend="torch") as engine:
        assert engine.backend == "onnxruntime"


def test_status_lists_all_of_them() -> None:
    usable = {status.name: status.usable for status in backend_status()}
    assert set(usable) == {"tensorrt", "openvino", "onnxruntime"}
    assert usable["openvino"]
    assert usable["onnxruntime"]


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(
        ValueError,
        match="no backend 'tensorflow'; choose auto, onnxruntime, openvino, tensorrt, torch",
    ):
        choose_backend("tensorflow")  # type: ignore[arg-type]


def hide(*names: str) -> str:
    return "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in names)


CHOOSE = (
    "from facestream.engines.errors import BackendUnavailable\n"
    "from facestream.engines.registry import choose_backend\n"
    "try: print(choose_backend({!r}))\n"
    "except BackendUnavailable as error: print('BackendUnavailable:', error)\n"
)


def test_auto_falls_back_to_onnxruntime(run_python: RunPython) -> None:
    ran = run_python(hide("openvino") + CHOOSE.format("auto"))
    assert "name='onnxruntime'" in ran.stdout, ran.stderr
    assert "openvino does not load" in ran.stdout


@pytest.mark.parametrize(
    ("backend", "hidden", "command"),
    [
        ("openvino", ["openvino"], "pip install openvino"),
        ("onnxruntime", ["onnxruntime"], "pip install onnxruntime onnx"),
        ("torch", ["onnxruntime"], "pip install onnxruntime onnx"),
    ],
)
def test_a_missing_backend_comes_with_its_command(
    run_python: RunPython, backend: str, hidden: list[str], command: str
) -> None:
    ran = run_python(hide(*hidden) + CHOOSE.format(backend))
    assert ran.stdout.startswith("BackendUnavailable:"), ran.stderr
    assert ran.stdout.rstrip().endswith(command)


def test_no_backend_at_all(run_python: RunPython) -> None:
    code = CHOOSE.replace("choose_backend({!r})", "choose_backend(device='cpu')")
    ran = run_python(hide("openvino", "onnxruntime") + code)
    assert ran.stdout.startswith("BackendUnavailable: no backend can serve: openvino does not")
    assert "; onnxruntime does not load" in ran.stdout


NO_DRIVER = "from facestream.engines import devices\ndevices.DRIVER = 'libno-such-driver.so'\n"


def test_tensorrt_without_a_gpu_names_all_that_is_missing(run_python: RunPython) -> None:
    """Driver and packages in one line."""
    names = ("tensorrt", "tensorrt_rtx", "cuda.bindings.runtime")
    ran = run_python(NO_DRIVER + hide(*names) + CHOOSE.format("tensorrt"))
    assert ran.stdout.startswith("BackendUnavailable: tensorrt cannot run here: "), ran.stderr
    assert "no NVIDIA driver: libno-such-driver.so is not there; " in ran.stdout
    for package in ("tensorrt", "tensorrt-rtx-cu13"):
        assert f"pip install {package} cuda-bindings onnx" in ran.stdout
    assert "pip install cuda-bindings" in ran.stdout
    assert ran.stdout.count("\n") == 1


def test_without_a_driver_auto_loads_no_backend_for_gpus(run_python: RunPython) -> None:
    ran = run_python(
        NO_DRIVER
        + "import sys\n"
        + CHOOSE.format("auto")
        + "others = {'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'cuda'}\n"
        + "print(sorted(others & set(sys.modules)))"
    )
    choice, loaded = ran.stdout.splitlines()
    assert "name='openvino'" in choice
    assert "; no CUDA device (no NVIDIA driver: libno-such-driver.so is not there)" in choice
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("backend", "device", "message"),
    [
        ("openvino", "cuda", "openvino runs on cpu only, not on cuda"),
        ("tensorrt", "cpu", "tensorrt runs on cuda only, not on cpu"),
    ],
)
def test_a_backend_that_never_runs_on_that_device(
    backend: Backend, device: Device, message: str
) -> None:
    with pytest.raises(BackendUnavailable, match=message):
        choose_backend(backend, device=device)


def test_onnxruntime_on_cuda_says_what_it_lacks(
    run_python: RunPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = CHOOSE.replace("choose_backend({!r})", "choose_backend('onnxruntime', device='cuda')")
    ran = run_python(NO_DRIVER + code)
    assert "onnxruntime sees no CUDA device: no NVIDIA driver" in ran.stdout, ran.stderr
    if "CUDAExecutionProvider" in importlib.import_module("onnxruntime").get_available_providers():
        return
    monkeypatch.setattr(onnxruntime, "driver_report", DriverReport)  # with a GPU
    with pytest.raises(BackendUnavailable, match=r"is built without CUDA: .*onnxruntime-gpu$"):
        onnxruntime.find_device("cuda")
    assert onnxruntime.find_device("auto") == "cpu"


def test_what_a_backend_may_compute_in_ends_with_float32() -> None:
    assert precisions("onnxruntime", "cuda") == ("float16", "float32")
    assert precisions("tensorrt", "cuda") == ("float16", "float32")
    assert precisions("onnxruntime", "cpu") == ("float32",)
    assert precisions("openvino", "cpu")[-1] == "float32"


def test_an_error_class_to_catch_them_all() -> None:
    from facestream.engines import errors

    for error in (BackendUnavailable, errors.ModelError, errors.InferenceError):
        assert issubclass(error, errors.EngineError)
