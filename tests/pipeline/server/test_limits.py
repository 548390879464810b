"""Uploads that are too large, too slow, too many or hostile; paths that are not ours."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from facestream.pipeline.server.serving import ServiceServer
from PIL import Image

from tests.pipeline.server.conftest import FREE, Served, settings_for
from tests.waiting import wait_until

PROBLEM = "application/problem+json"


@contextmanager
def served(tmp_path: Path, **values: Any) -> Iterator[httpx.Client]:
    settings = settings_for(tmp_path / "house.db", **values)
    with (
        ServiceServer(settings, FREE) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


def png_bomb(side: int) -> bytes:
    """A PNG of side×side grey pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000))
        + chunk(b"IEND", b"")
    )


def animated() -> bytes:
    frames = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(50)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"GIF89a", 422),
        (b"\xff\xd8\xff" + b"\0" * 100, 422),
        (b"%!PS-Adobe\n(x) show", 422),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
        (png_bomb(60000), 422),
        (animated(), 200),
    ],
    ids=["empty", "gif head", "jpeg head", "postscript", "svg", "bomb", "animated"],
)
def test_hostile_pictures(anyone: httpx.Client, content: bytes, status: int) -> None:
    asked = anyone.post("/api/v1/recognise", files={"image": content})
    assert asked.status_code == status, asked.text
    if status != 200:
        assert asked.headers["content-type"] == PROBLEM
        assert asked.json()["reason"] == "unreadable"


def test_a_polyglot_is_a_picture_or_nothing(anyone: httpx.Client, portrait_bytes: bytes) -> None:
    zipped = portrait_bytes + b"PK\x03\x04<script>alert(1)</script>"
    asked = anyone.post("/api/v1/recognise", files={"image": ("a.php", zipped, "text/html")})
    assert asked.headers["content-type"] == "application/json"
    assert len(asked.json()["faces"]) == 1


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\nContent-Disposition: form-data\r\n\r\nhi\r\n--x--", b"\0" * 1000]
)
def test_damaged_forms(anyone: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    asked = anyone.post("/api/v1/recognise", content=body, headers=headers)
    assert asked.status_code in (400, 422)
    assert asked.headers["content-type"] == PROBLEM
    none = anyone.post(
        "/api/v1/recognise", content=body, headers={"Content-Type": "multipart/form-data"}
    )
    assert none.status_code == 400


def test_a_refused_client_that_still_sends_sees_the_answer(keyed_server: Served) -> None:
    """To close with bytes unread resets the connection, and the answer may be lost."""
    address = keyed_server.server.address
    head = "POST /api/v1/people HTTP/1.1\r\nHost: wrong.example\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=30) as client:
        for _ in range(2):  # and the connection is kept
            client.sendall(head.encode())
            time.sleep(0.1)
            client.sendall(b"{}")
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = client.recv(4096)
                assert part, answer
                answer += part
            header, body = answer.split(b"\r\n\r\n")
            assert header.startswith(b"HTTP/1.1 400")
            length = int(header.lower().split(b"content-length:")[1].split()[0])
            while len(body) < length:
                body += client.recv(4096)


def test_ten_gigabytes_are_refused_before_they_are_sent(open_server: Served) -> None:
    address = open_server.server.address
    for how in ("Content-Length: 10000000000", "Transfer-Encoding: chunked"):
        with socket.create_connection((address.host, address.port), timeout=30) as client:
            head = (
                f"POST /api/v1/recognise HTTP/1.1\r\nHost: localhost\r\n{how}\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            )
            client.sendall(head.encode())
            sent = 0
            try:
                if how.startswith("Transfer"):
                    part = (
                        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
                    )
                    client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                    chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
                    while sent < 200:
                        client.sendall(chunk)
                        sent += 1
            except OSError:
                pass  # it was cut off
            assert sent < 200
            with closing(client.makefile("rb")) as answer:
                try:
                    assert b" 413 " in answer.readline()
                except ConnectionResetError:
                    assert sent  # the answer was lost behind what we sent


def test_json_has_a_limit_of_its_own(anyone: httpx.Client) -> None:
    asked = anyone.post("/api/v1/people", json={"name": "x" * 100_000})
    assert asked.status_code == 413
    deep = b'{"name":' + b"[" * 20_000
    asked = anyone.post(
        "/api/v1/people", content=deep, headers={"Content-Type": "application/json"}
    )
    assert asked.status_code in (400, 422)


def test_a_body_that_does_not_come_in_time_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, **{"server.upload_timeout": 1.0}) as client:
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        with socket.create_connection((host, port), timeout=30) as slow:
            slow.sendall(
                b"POST /api/v1/people HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                b"Content-Type: application/json\r\n\r\n{"
            )
            assert b" 408 " in slow.recv(1000)


def test_more_pictures_than_there_are_places_are_refused(
    tmp_path: Path, portrait_bytes: bytes
) -> None:
    limits = {"server.workers": 1, "server.max_waiting": 1}
    with served(tmp_path, **limits) as client:
        codes: list[int] = []
        headers: list[httpx.Headers] = []

        def ask() -> None:
            asked = client.post("/api/v1/recognise", files={"image": portrait_bytes})
            codes.append(asked.status_code)
            headers.append(asked.headers)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        # The event loop answers meanwhile.
        assert client.get("/healthz").status_code == 200
        for thread in threads:
            thread.join()
        assert set(codes) == {200, 503}
        assert headers[codes.index(503)]["retry-after"] == "2"


def test_viewers_are_limited_and_get_no_embeddings(
    keyed_server: Served, portrait_bytes: bytes
) -> None:
    limit = keyed_server.server.service.identifications
    kept, limit._most = limit._most, 2.0
    limit._buckets.clear()
    picture = {"image": portrait_bytes}
    try:
        with keyed_server.client("viewer") as viewer, keyed_server.client("operator") as operator:
            assert viewer.post("/api/v1/embed", files=picture).status_code == 403
            codes = [viewer.post("/api/v1/recognise", files=picture).status_code for _ in range(3)]
            assert codes == [200, 200, 429]
            [face] = operator.post("/api/v1/embed", files=picture).json()["faces"]
            assert sum(value**2 for value in face["embedding"]) == pytest.approx(1, abs=1e-3)
    finally:
        limit._most = kept
        limit._buckets.clear()


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/sightings/../../../etc/passwd",
        "/api/v1/sightings/..%2f..%2f..%2fetc%2fpasswd/pictures/frame",
        "/api/v1/people/1%00/photos",
        "/..%2f..%2fetc/passwd",
        "/api/v1/people/-1",
        "/api/v1/people/99999999999999999999",
        "/api/v1/cameras/%0d%0aX-Evil:%20yes",
    ],
)
def test_paths_that_are_not_ours(anyone: httpx.Client, path: str) -> None:
    asked = anyone.get(path)
    assert asked.status_code in (404, 422)
    assert asked.headers["content-type"] == PROBLEM
    assert "x-evil" not in asked.headers
    assert "root:" not in asked.text


def test_an_error_of_the_server_is_one_line_with_an_id(
    open_server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(open_server.server.service.sightings, "page", broken)
    with open_server.client() as client:
        asked = client.get("/api/v1/sightings?name=%0aforged+line")
    assert asked.status_code == 500
    told = asked.json()
    assert "secret" not in asked.text
    assert told["id"] in told["detail"]
    [line] = [one for one in caplog.records if told["id"] in one.getMessage()]
    assert "\n" not in line.getMessage()


def test_idle_sockets_keep_nobody_out_for_long(tmp_path: Path) -> None:
    with served(tmp_path, **{"server.header_timeout": 1.0}) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        idle = [socket.create_connection((host, port), timeout=30) for _ in range(200)]
        try:

            def answers() -> bool:
                try:
                    with httpx.Client(base_url=client.base_url, timeout=5) as late:
                        return late.get("/healthz").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(answers)
        finally:
            for one in idle:
                one.close()
