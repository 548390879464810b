"""Fixtures that the tests of the detector on torch share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from facestream.pipeline.detection.mtcnn import kernels as native
from facestream.pipeline.detection.mtcnn.detector import KernelChoice


@pytest.fixture(params=["auto", "off"], ids=["kernels", "openvino"], scope="module")
def kernels(request: pytest.FixtureRequest) -> KernelChoice:
    """What runs the detector's networks on a CPU: C, where it is built, and OpenVINO."""
    if request.param == "auto" and native.missing() is not None:
        pytest.skip(str(native.missing()))
    choice: KernelChoice = request.param
    return choice


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """For work this small a second thread costs more than it does, and waits on a busy machine."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], scope="module")
def device(request: pytest.FixtureRequest) -> str:
    """Each device that torch may run on: ``cpu``, and ``cuda`` where there is one."""
    if request.param == "cuda":
        request.getfixturevalue("torch_cuda")
    return str(request.param)
