"""Fixtures that the tests of the detector on torch share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


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
