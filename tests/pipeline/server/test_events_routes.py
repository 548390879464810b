"""Events over server-sent events and WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from facestream.pipeline.core.events import parse_event
from facestream.pipeline.server.events import QUEUE, EventBus, EventFilter, Gap, ListeningEnded
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.pipeline.server.conftest import Served, publish
from tests.pipeline.sightings.stored import appeared
from tests.waiting import wait_until


def read(client: httpx.Client, count: int, **query: Any) -> Iterator[dict[str, str]]:
    """So many events of the stream."""
    headers = query.pop("headers", {})
    with client.stream("GET", "/api/v1/events", params=query, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found: dict[str, str] = {}
        for line in stream.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                found[name] = value
                continue
            if "data" in found:
                yield found
                count -= 1
                if not count:
                    return
            found = {}


def listeners(served: Served) -> int:
    return served.server.service.events.listeners


def test_a_lost_connection_is_resumed_without_a_gap(keyed_server: Served) -> None:
    publish(keyed_server)
    with keyed_server.client("viewer") as client:
        [first] = read(client, 1, after="00000000-0-0")
        assert first["event"] == "gap"  # of another run of the service
        since = json.loads(first["data"])["sightings"]
        assert client.get(since).json()["sightings"]
        _, one, two = read(client, 3, after="00000000-0-0")
        assert parse_event(one["data"]).type == one["event"]
        again = list(read(client, 1, headers={"Last-Event-ID": one["id"]}))
        assert again == [two]
    wait_until(lambda: listeners(keyed_server) == 0)


def test_filters_and_the_scope_of_a_key(keyed_server: Served) -> None:
    keyed_server.server.service.events._ring.clear()
    door, hall = publish(keyed_server), publish(keyed_server, source="hall")
    start = {"after": "00000000-0-0"}
    with keyed_server.client("door") as scoped, keyed_server.client("viewer") as client:
        _, seen = read(client, 2, camera="hall", type="left", **start)
        assert json.loads(seen["data"])["sighting"] == hall
        found = [json.loads(one["data"]) for one in read(scoped, 3, **start)][1:]
        assert {one["source"] for one in found} == {"door"}
        assert door
        assert client.get("/api/v1/events", params={"type": "nonsense"}).status_code == 422


def test_a_web_socket_gets_the_same(keyed_server: Served) -> None:
    url = keyed_server.url.replace("http", "ws") + "/api/v1/events/socket?type=left"
    key = {"Authorization": f"Bearer {keyed_server.keys['viewer']}"}
    with connect(url, additional_headers=key) as socket:
        wait_until(lambda: listeners(keyed_server) == 1)
        sighting = publish(keyed_server)
        message = json.loads(socket.recv(timeout=30))
        assert message["event"] == "left"
        assert message["data"]["sighting"] == sighting
        with connect(f"{url}&after={message['id']}", additional_headers=key) as other:
            again = publish(keyed_server)
            assert json.loads(other.recv(timeout=30))["data"]["sighting"] == again
    wait_until(lambda: listeners(keyed_server) == 0)


def test_web_sockets_need_a_key_and_the_same_site(keyed_server: Served) -> None:
    url = keyed_server.url.replace("http", "ws") + "/api/v1/events/socket"
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        with (
            pytest.raises((InvalidStatus, ConnectionClosed)),
            connect(url, additional_headers=headers) as socket,
        ):
            socket.recv(timeout=30)


def test_a_web_socket_of_another_site_is_refused(open_server: Served) -> None:
    url = open_server.url.replace("http", "ws") + "/api/v1/events/socket"
    evil: Any = "http://evil.example"
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, origin=evil) as socket:
        socket.recv(timeout=30)
    with connect(url):
        pass


def test_a_web_socket_holds_its_place_among_the_connections(open_server: Served) -> None:
    """It outlives the time for requests, and its end is noticed."""
    url = open_server.url.replace("http", "ws") + "/api/v1/events/socket"
    places = open_server.server.service.stream_places
    for _ in range(3):
        with connect(url):
            wait_until(lambda: places._actors.total() == 1)
        wait_until(lambda: places._actors.total() == 0)


def test_a_slow_client_is_disconnected_and_holds_nobody_up() -> None:
    async def run() -> None:
        bus = EventBus(QUEUE * 4)
        slow, quick = bus.listen(EventFilter()), bus.listen(EventFilter())
        events = [appeared(at=float(n)) for n in range(QUEUE + 1)]
        for event in events:
            bus.publish(event)
            item = await quick.next(1)
            assert item is not None
            assert not isinstance(item, Gap)
            assert item.event is event
        with pytest.raises(ListeningEnded):
            await slow.next(1)
        assert slow.overflowed
        bus.leave(slow)
        again = bus.listen(EventFilter(), after=f"{bus._run}-1-0")
        number = 2
        while (item := await again.next(0.01)) is not None:
            assert not isinstance(item, Gap)
            assert item.number == number
            number += 1
        assert number == len(events) + 1
        bus.close()
        with pytest.raises(ListeningEnded):
            await again.next(1)

    asyncio.run(run())


def test_events_that_are_not_kept_any_more_leave_a_gap() -> None:
    async def run() -> None:
        bus = EventBus(2)
        for n in range(4):
            bus.publish(appeared(at=float(n)))
        whole = bus.listen(EventFilter(), after=f"{bus._run}-2-1000")
        first = await whole.next(1)
        assert not isinstance(first, Gap)
        lossy = bus.listen(EventFilter(), after=f"{bus._run}-1-1000")
        gap = await lossy.next(1)
        assert isinstance(gap, Gap)
        assert gap.since.timestamp() == 1

    asyncio.run(run())
