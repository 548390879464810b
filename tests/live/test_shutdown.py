"""The shutdown promise: however a run ends, it does not hang, and what it wrote is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from facestream.pipeline import Settings

from tests.disks import disk_or_skip
from tests.servers.rtsp import RtspServer

from .endings import Mixed, Plan, end_once, nobody, plans

pytestmark = pytest.mark.live


@pytest.fixture
def mixed(steady: RtspServer, endless: Path, quick: Settings) -> Iterator[Mixed]:
    with nobody() as dead:
        yield Mixed(steady.url("/walk"), endless, dead, quick)


def end(plan: Plan, mixed: Mixed, folder: Path) -> None:
    with ExitStack() as stack:
        if plan.way.endswith("disk full"):
            folder = stack.enter_context(disk_or_skip(folder / "disk", kilobytes=2048))
        ending = end_once(plan, mixed, folder)
    assert ending.problems == [], ending


@pytest.mark.parametrize("plan", plans(8, seed=4, latest=2.0), ids=str)
def test_however_a_run_ends_its_files_are_whole(plan: Plan, mixed: Mixed, tmp_path: Path) -> None:
    end(plan, mixed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("plan", plans(100, seed=5), ids=str)
def test_a_hundred_times(plan: Plan, mixed: Mixed, tmp_path: Path) -> None:
    end(plan, mixed, tmp_path)
