"""Clips, servers and a gallery for runs of live sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline import Gallery, Settings

from tests.faces import face_clip, portrait_path
from tests.servers.clips import looped
from tests.servers.debian import require_servers
from tests.servers.rtsp import RtspServer

from .leaks import Held, check_nothing_left

QUICK = {
    "live.open_timeout": 8.0,
    "live.read_timeout": 2.0,
    "live.stall_after": 1.0,
    "live.retry_first": 0.2,
    "live.retry_longest": 1.0,
    "detector.min_face": 40,
    "tracking.detect_every": 5,
    "runtime.threads": 1,
}


@pytest.fixture(scope="session", autouse=True)
def _servers() -> None:
    require_servers()


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own gallery is neither read nor written."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))


@pytest.fixture(autouse=True)
def _nothing_left(_servers: None) -> Iterator[None]:
    before = Held.now()
    yield
    check_nothing_left(before)


@pytest.fixture(scope="session")
def quick() -> Settings:
    """Short time-outs and little work a frame."""
    return Settings().with_values(QUICK)


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 seconds of one face that walks, 320×240 at 25 a second, key frames every 10."""
    return face_clip(tmp_path_factory.mktemp("walk") / "walk.mp4", frames=500)


@pytest.fixture(scope="session")
def endless(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for ten minutes: longer than any test."""
    return looped(walk, tmp_path_factory.mktemp("endless") / "walk.mkv", seconds=600)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery that knows the face."""
    path = tmp_path_factory.mktemp("people") / "people.db"
    with Gallery(path) as gallery:
        gallery.add("Eileen Collins", portrait_path())
    return path


@pytest.fixture(scope="module")
def steady(endless: Path) -> Iterator[RtspServer]:
    """A server that nothing happens to: ``/walk``."""
    with RtspServer({"/walk": endless}) as server:
        yield server
