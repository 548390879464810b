"""Which backend serves, and the reason given for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import Backend, Device
from facestream.engines.registry import (
    backend_status,
    choose_backend,
    load_engine,
    precisions,
)

from .conftest import RunPython


def test_auto_takes_openvino_and_says_why() -> None:
    choice = choose_backend(device="cpu")
    assert choice.name == "openvino"
    assert choice.reason.startswith("auto: the first that works here (openvino 20")
    assert "\n" not in choice.reason


def test_the_one_asked_for_serves(network: Path) -> None:
    assert choose_backend("torch").reason.startswith("asked for (torch ")
    with load_engine(network, backend="torch") as engine:
        assert engine.backend == "torch"


def test_status_lists_all_of_them() -> None:
    usable = {status.name: status.usable for status in backend_status()}
    assert set(usable) == {"tensorrt", "openvino", "torch"}
    assert usable["openvino"]
    assert usable["torch"]


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(
        ValueError, match="no backend 'tensorflow'; choose auto, openvino, tensorrt, torch"
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


def test_auto_falls_back_to_torch(run_python: RunPython) -> None:
    ran = run_python(hide("openvino") + CHOOSE.format("auto"))
    assert "name='torch'" in ran.stdout, ran.stderr
    assert "openvino does not load" in ran.stdout


@pytest.mark.parametrize(
    ("backend", "hidden", "command"),
    [
        ("openvino", ["openvino"], "pip install openvino"),
        ("torch", ["torch"], "pip install torch onnx"),
        ("torch", ["onnx"], "pip install torch onnx"),
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
    ran = run_python(hide("openvino", "torch") + code)
    assert ran.stdout.startswith("BackendUnavailable: no backend can serve: openvino does not")
    assert "; torch: " in ran.stdout


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


def test_without_a_driver_auto_loads_neither_torch_nor_tensorrt(run_python: RunPython) -> None:
    ran = run_python(
        NO_DRIVER
        + "import sys\n"
        + CHOOSE.format("auto")
        + "print(sorted({'torch', 'onnx', 'tensorrt', 'tensorrt_rtx', 'cuda'} & set(sys.modules)))"
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


def test_torch_on_cuda_says_what_it_lacks(run_python: RunPython) -> None:
    code = CHOOSE.replace("choose_backend({!r})", "choose_backend('torch', device='cuda')")
    ran = run_python(NO_DRIVER + "import torch\ntorch.cuda.is_available = lambda: False\n" + code)
    assert "torch sees no CUDA device: no NVIDIA driver" in ran.stdout, ran.stderr


def test_what_a_backend_may_compute_in_ends_with_float32() -> None:
    assert precisions("torch", "cuda") == ("float16", "float32")
    assert precisions("tensorrt", "cuda") == ("float16", "float32")
    assert precisions("torch", "cpu") == ("float32",)
    assert precisions("openvino", "cpu")[-1] == "float32"


def test_an_error_class_to_catch_them_all() -> None:
    from facestream.engines import errors

    for error in (BackendUnavailable, errors.ModelError, errors.InferenceError):
        assert issubclass(error, errors.EngineError)
