"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers.postgresql import PostgresServer, postgresql_server, require_postgresql

# How long an example takes says something of the machine, not of the code.
settings.register_profile("facestream", deadline=None)
settings.load_profile("facestream")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_CASES = SHARED_DATA.parent / "cases"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Built engines and verdicts of the tests are not those of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        # pytest-xdist sets it; tables are as wide as they are in a file.
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_priority() -> Iterator[None]:
    """A source that a test reads in this thread lowers its priority, and that of all later ones.

    A thread that becomes real-time would starve all other tests: none may.
    """
    policy, before = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    yield
    became = os.sched_getscheduler(0)
    with suppress(OSError):  # only root may raise it again
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, before)
    assert became == policy


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command that a test runs in this process leaves no handler and no level behind."""
    from facestream.pipeline.cli.console import logging_restored

    with logging_restored():
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL server; skips where none is installed."""
    require_postgresql()
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def _template(postgresql: PostgresServer) -> str:
    """The name of a database with the tables: copies of it are made faster than they are."""
    from facestream.pipeline.core.location import DatabaseUrl
    from facestream.pipeline.storage.database import open_database

    url = DatabaseUrl(postgresql.new_database())
    open_database(url, create="if_missing").dispose()
    return url.name


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path | str:
    """A file that does not exist, or the URL of a database without rows."""
    if request.param == "sqlite":
        return tmp_path / "house.db"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    server: PostgresServer = request.getfixturevalue("postgresql")
    return server.new_database(options=f"TEMPLATE {request.getfixturevalue('_template')}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of research data beside the checkout; skips where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the research data in ../shared/data, which is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of small inputs that once failed; skips where it is not beside the checkout."""
    if not SHARED_CASES.is_dir():
        pytest.skip("needs ../shared/cases, which is not beside this checkout")
    return SHARED_CASES


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a marker asks for must be there."""
    if item.get_closest_marker("tensorrt"):
        _need(_tensorrt_problem(runs=item.get_closest_marker("gpu") is not None))
    elif item.get_closest_marker("gpu"):
        _need(_driver_problem())


@pytest.fixture(scope="session")
def bfloat16_cpu() -> None:
    """A CPU on which OpenVINO computes bfloat16, be it slowly; skips elsewhere."""
    from facestream.engines.openvino import capabilities

    if "BF16" not in capabilities():
        pytest.skip("this CPU does not compute bfloat16")


@pytest.fixture(scope="session")
def fast_bfloat16_cpu(bfloat16_cpu: None) -> None:
    """A CPU on which bfloat16 is what ``auto`` means; skips elsewhere."""
    from facestream.engines.openvino import choose_precision

    if choose_precision("auto") != "bfloat16":
        pytest.skip("this CPU computes bfloat16 no faster than float32")


@pytest.fixture(scope="session")
def cuda() -> None:
    """A CUDA device; skips without one, or fails where REQUIRE_GPU=1 says there is one."""
    _need(_driver_problem())


@pytest.fixture(scope="session")
def torch_cuda() -> None:
    """A CUDA device that torch can use; skips or fails as ``cuda`` does."""
    from facestream.engines.errors import BackendUnavailable
    from facestream.pipeline.detection.resident.networks import find_device

    try:
        find_device("cuda")
    except BackendUnavailable as error:
        _need(str(error))


@pytest.fixture(scope="session")
def onnxruntime_cuda() -> None:
    """A CUDA device that ONNX Runtime can use; skips or fails as ``cuda`` does."""
    from facestream.engines.errors import BackendUnavailable
    from facestream.engines.onnxruntime import find_device

    try:
        find_device("cuda")
    except BackendUnavailable as error:
        _need(str(error))


def _need(problem: str | None) -> None:
    """Skip where something is missing; with REQUIRE_GPU=1 that is a failure."""
    if problem is None:
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail(f"REQUIRE_GPU=1, but {problem}", pytrace=False)
    pytest.skip(problem)


def _driver_problem() -> str | None:
    from facestream.engines.devices import driver_report

    return driver_report().problem


def _tensorrt_problem(*, runs: bool) -> str | None:
    """Why plans cannot be built here, or, for tests on a GPU, cannot be run."""
    from facestream.engines.errors import BackendUnavailable
    from facestream.engines.tensorrt.variant import check_requirements, find_variant

    try:
        if runs:
            check_requirements()
        else:
            find_variant()
    except BackendUnavailable as error:
        return str(error)
    return None
