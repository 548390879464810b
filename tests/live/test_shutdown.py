"""The shutdown promise: however a run ends, it does not hang, and what it wrote is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from facestream.pipeline import Settings

from tests.servers.rtsp import RtspServer

from .endings import Mixed, Plan, end_once, nobody, plans, small_disk

pytestmark = pytest.mark.live


@pytest.fixture
def mixed(steady: RtspServer, endless: Path, quick: Settings) -> Iterator[Mixed]:
    with nobody() as dead:
        yield Mixed(steady.url("/walk"), endless, dead, quick)


def end(plan: Plan, mixed: Mixed, folder: Path) -> None:
    with ExitStack() as stack:
        if plan.way.endswith("disk full"):
            if os.geteuid() != 0:
                pytest.skip("only root can mount a small disk")
            try:
                folder = stack.enter_context(small_disk(folder / "disk"))
            except PermissionError as error:
                pytest.skip(f"no small disk can be mounted here: {error}")
        ending = end_once(plan, mixed, folder)
    assert ending.problems == [], ending


@pytest.mark.parametrize("plan", plans(8, seed=4, latest=2.0), ids=str)
def test_however_a_run_ends_its_files_are_whole(plan: Plan, mixed: Mixed, tmp_path: Path) -> None:
    end(plan, mixed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("plan", plans(100, seed=5), ids=str)
def test_a_hundred_times(plan: Plan, mixed: Mixed, tmp_path: Path) -> None:
    end(plan, mixed, tmp_path)
