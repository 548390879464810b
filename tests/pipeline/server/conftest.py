"""Real servers on loopback, with the real networks: one that needs no key, and one that does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import facestream.pipeline.detection.portraits
import pytest

pytest.importorskip("fastapi")
import httpx
from facestream.pipeline.access.keys import add_key
from facestream.pipeline.access.roles import ROLES
from facestream.pipeline.access.users import add_user
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.config import Settings
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sightings import Sightings

from tests.pipeline.sightings.stored import appeared, left

PORTRAITS = Path(facestream.pipeline.detection.portraits.__file__).parent
PASSWORD = "correct horse battery"
FREE = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class Served:
    """A running server, and clients of it by role."""

    server: ServiceServer
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def client(self, who: str | None = None) -> httpx.Client:
        """A client with the key of a role, or without any."""
        headers = {} if who is None else {"Authorization": f"Bearer {self.keys[who]}"}
        return httpx.Client(base_url=self.url, timeout=60, headers=headers)


def settings_for(database: Path, **values: object) -> Settings:
    keys = {"storage.database": database, "server.failures_per_minute": 1000, **values}
    return Settings().with_values(keys)


@pytest.fixture(scope="session")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Nobody needs a key."""
    database = tmp_path_factory.mktemp("open") / "house.db"
    with ServiceServer(settings_for(database), FREE) as server:
        yield Served(server)


@pytest.fixture(scope="session")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Keys of every role, one for the camera ``door``, and the user ``ada``; two sightings."""
    database = tmp_path_factory.mktemp("keyed") / "house.db"
    keys: dict[str, str] = {}
    with Sightings(database, create="if_missing") as store:
        for role in ROLES:
            keys[role] = add_key(store, role, role=role)[1]
        keys["door"] = add_key(store, "door only", role="operator", cameras=["door"])[1]
        add_user(store, "ada", PASSWORD, role="operator")
    settings = settings_for(database, **{"server.identifications_per_minute": 100000})
    with ServiceServer(settings, FREE) as server:
        yield Served(server, keys)


@pytest.fixture
def anyone(open_server: Served) -> Iterator[httpx.Client]:
    with open_server.client() as client:
        yield client


@pytest.fixture(scope="session")
def portrait_bytes() -> bytes:
    """A picture with one face."""
    return (PORTRAITS / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def other_portrait() -> bytes:
    """A picture of somebody else."""
    return (PORTRAITS / "hopper.jpg").read_bytes()


def publish(served: Served, *, source: str = "door", shade: int | None = None) -> str:
    """A sighting begins and ends: it is stored, and its events are sent; returns its id."""
    from facestream.pipeline.sightings.writer import SightingWriter

    first = appeared(source=source)
    last = left(first, shade=shade)
    with Sightings(served.server.service.sightings.path) as store:
        writer = SightingWriter(store)
        for event in (first, last):
            writer.event(event, pace="waits")
        writer.close()
    for event in (first, last):
        served.server.service.events.publish(event)
    return str(first.sighting)
