"""The run's own file descriptors are reserved."""

from __future__ import annotations

import subprocess
import sys

import pytest
from facestream.pipeline.core.config import ServerSettings
from facestream.pipeline.web.descriptors import fitting


@pytest.mark.parametrize(
    ("limit", "servers", "connections", "of_one"),
    [(1024, 2, 64, 32), (160, 1, 64, 32), (160, 2, 26, 19), (110, 1, 14, 10)],
)
def test_clients_get_what_the_run_leaves(
    limit: int, servers: int, connections: int, of_one: int
) -> None:
    given = fitting(ServerSettings(), limit, sources=2, outputs=4, servers=servers)
    assert (given.max_connections, given.max_connections_per_client) == (connections, of_one)


def test_too_few_are_said(caplog: pytest.LogCaptureFixture) -> None:
    given = fitting(ServerSettings(), 256, sources=30, outputs=4, servers=1)
    assert given.max_connections == 4
    assert "'ulimit -n 440'" in caplog.text
    assert fitting(ServerSettings(), 10, sources=30, outputs=4, servers=0) == ServerSettings()


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, 300));"
        "from facestream.pipeline.web.descriptors import raise_descriptor_limit;"
        "print(raise_descriptor_limit(), r.getrlimit(r.RLIMIT_NOFILE))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "300 (300, 300)\n", ran.stderr
