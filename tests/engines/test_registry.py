"""Which backend serves, and the reason given for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.engines.errors import BackendUnavailable
from facestream.engines.registry import backend_status, choose_backend, load_engine

from .conftest import RunPython


def test_auto_takes_openvino_and_says_why() -> None:
    choice = choose_backend()
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
    ran = run_python(hide("openvino", "torch") + CHOOSE.format("auto"))
    assert ran.stdout.startswith("BackendUnavailable: no backend can serve: "), ran.stderr
    assert "; openvino: " in ran.stdout
    assert "; torch: " in ran.stdout


def test_an_error_class_to_catch_them_all() -> None:
    from facestream.engines import errors

    for error in (BackendUnavailable, errors.ModelError, errors.InferenceError):
        assert issubclass(error, errors.EngineError)
