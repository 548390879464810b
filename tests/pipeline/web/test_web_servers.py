"""Both servers against clients that keep connections, send slowly, or come under another name."""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from facestream.engines.closing import Closing
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.config import ServerSettings
from facestream.pipeline.web.hosts import HostNames
from facestream.pipeline.web.listen import listening_at
from facestream.pipeline.web.threaded_server import ThreadedServer

from tests.waiting import wait_until

pytest.importorskip("uvicorn")
from facestream.pipeline.web.asgi import Guard
from facestream.pipeline.web.asgi_server import AsgiServer

FREE = Address("127.0.0.1", 0)
LIMITS = ServerSettings.model_construct(
    hosts=("cameras.example",),
    max_connections=4,
    max_connections_per_client=4,
    header_timeout=0.4,
    idle_timeout=0.4,
    max_request_bytes=1000,
)
Start = Callable[..., int]


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """``/endless`` sends for ever, other paths the number of bytes that came."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/endless":
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": str(size).encode()})


def _asgi(settings: ServerSettings, listening: socket.socket, hosts: HostNames) -> Closing:
    most = settings.max_request_bytes
    guard = Guard(_echo, hosts=hosts, token=None, request_bytes=most)
    return AsgiServer(guard, listening, settings, name="test")


def _threaded(settings: ServerSettings, listening: socket.socket, hosts: HostNames) -> Closing:
    def answer(path: str, headers: object) -> tuple[dict[str, str], bytes]:
        return {}, b"x" * (1 << 25 if path == "/endless" else 1)

    return ThreadedServer(answer, listening, settings, hosts, name="test")


@pytest.fixture(params=[_asgi, _threaded], ids=["asgi", "threaded"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts a server with changed limits; returns its port."""
    with ExitStack() as stack:

        def begin(**changes: Any) -> int:
            listening = listening_at(FREE, what="nothing")
            port: int = listening.getsockname()[1]
            settings = LIMITS.model_copy(update=changes)
            hosts = HostNames(FREE, settings.hosts)
            stack.enter_context(request.param(settings, listening, hosts))
            return port

        yield begin


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def status(port: int, path: str = "/", **headers: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.request("GET", path, headers={"Connection": "close", **headers})
            return connection.getresponse().status
        except OSError:
            return 0  # refused before the request was sent


def ended(client: socket.socket) -> bytes:
    """What a connection brings until the server ends it."""
    data = b""
    try:
        while part := client.recv(65536):
            data = (data + part)[-1000:]
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_clients_without_a_request_are_cut_off_and_others_served(start: Start, sent: bytes) -> None:
    port = start()
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(4)]
        for client in idle:
            client.sendall(sent)
        with connected(port) as late:
            assert ended(late).startswith(b"HTTP/1.1 503 ")
        for client in idle:
            ended(client)
        wait_until(lambda: status(port) == 200)


def test_a_header_that_comes_byte_by_byte_is_cut_off(start: Start) -> None:
    port = start()
    with connected(port) as slow:
        slow.settimeout(0.02)

        def is_cut_off() -> bool:
            try:
                slow.sendall(b"X")
                return slow.recv(10) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(is_cut_off)
    assert status(port) == 200


def test_one_address_does_not_keep_the_others_out(start: Start) -> None:
    port = start(max_connections_per_client=2, header_timeout=60.0)
    with connected(port), connected(port):
        with connected(port) as third:
            assert ended(third).startswith(b"HTTP/1.1 503 ")
        with socket.create_connection(
            ("127.0.0.1", port), timeout=30, source_address=("127.0.0.2", 0)
        ) as other:
            other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b" 200 " in ended(other).splitlines()[0]


def test_who_does_not_read_the_answer_is_cut_off(start: Start) -> None:
    port = start(max_connections=1)
    with connected(port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: status(port) == 503)
        wait_until(lambda: status(port) == 200)


def test_a_server_with_connections_ends_at_once(start: Start) -> None:
    port = start(header_timeout=60.0)
    connected(port).close()
    with connected(port):
        assert status(port) == 200


def test_only_own_names_are_answered(start: Start) -> None:
    port = start()
    own = ("localhost", "LOCALHOST:80", "127.0.0.1:9109", "[::1]:80", "192.168.1.7")
    for host in (*own, "cameras.example:8080", socket.gethostname()):
        assert status(port, Host=host) == 200, host
    others = ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example")
    for host in (*others, "", "a@localhost", "localhost:x", "localhost evil"):
        assert status(port, Host=host) == 400, host


def test_every_answer_forbids_what_no_page_needs(start: Start) -> None:
    port = start()
    for host in ("localhost", "evil.example"):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("GET", "/", headers={"Host": host})
            headers = connection.getresponse().headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in str(headers)


def test_a_large_header_is_refused(start: Start) -> None:
    port = start(header_timeout=60.0)
    assert status(port, Cookie="x" * 200_000) in (0, 400, 431)
    assert status(port) == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused(declared: bool) -> None:
    listening = listening_at(FREE, what="nothing")
    with _asgi(LIMITS, listening, HostNames(FREE)):
        port = listening.getsockname()[1]
        for size, expected in ((1000, 200), (1001, 413)):
            body = b"x" * size
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                connection.request("POST", "/", body=body if declared else iter([body]))
                assert connection.getresponse().status == expected


def test_a_body_that_comes_slowly_is_cut_off() -> None:
    listening = listening_at(FREE, what="nothing")
    with _asgi(LIMITS, listening, HostNames(FREE)), connected(listening.getsockname()[1]) as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\nx")
        assert ended(slow) == b""
