"""Logins and redirects over HTTP, against servers on loopback."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import SourceOptions, open_source, reach
from facestream.pipeline.sources.http_client import request

from tests.media import make_clip
from tests.pipeline.ingest.loopback import Connection, Server

QUICK = SourceOptions(open_timeout=2.0, read_timeout=2.0)
OK = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"
BASIC = 'Basic realm="cam"'
NAMES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def digest(algorithm: str) -> str:
    return f'Digest realm="cam", nonce="n0", qop="auth", algorithm={algorithm}'


class Guarded:
    """Wants a login by one of these challenges; keeps what clients send for it."""

    def __init__(self, *challenges: str, body: bytes = b"body", moved: str | None = None) -> None:
        self.logins: list[str] = []
        self._challenges = challenges
        self._body = body
        self.moved = moved  # where a client that is let in is sent to

    def __call__(self, connection: Connection) -> None:
        head = connection.request().decode()
        found = re.search(r"^Authorization: (.*?)\r$", head, re.MULTILINE)
        self.logins.append(found[1] if found else "")
        if self._challenges and not self._accepted(self.logins[-1], head.split()[1]):
            lines = "".join(f"WWW-Authenticate: {one}\r\n" for one in self._challenges)
            connection.send(f"HTTP/1.0 401 No\r\n{lines}\r\n".encode())
        elif self.moved is not None and head.split()[1] != "/moved.ts":
            connection.send(f"HTTP/1.0 302 Moved\r\nLocation: {self.moved}\r\n\r\n".encode())
        else:
            connection.send(OK + self._body)

    def _accepted(self, login: str, path: str) -> bool:
        if login.startswith("Basic "):
            return login == "Basic Ym9iOmh1c2g="  # bob:hush
        if not login.startswith("Digest "):
            return False
        given = dict(re.findall(r'(\w+)="?([^",]+)', login))
        new = NAMES[given["algorithm"]]
        first, second = (new(text.encode()).hexdigest() for text in ("bob:cam:hush", f"GET:{path}"))
        rest = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:auth"
        return bool(given["response"] == new(f"{first}:{rest}:{second}".encode()).hexdigest())


def body_of(url: str) -> bytes:
    with request(url, QUICK, name="cam") as answer:
        found = b""
        while chunk := answer.read():
            found += chunk
    return found


@pytest.mark.parametrize(
    ("challenges", "scheme"),
    [
        ((BASIC,), "Basic"),
        ((digest("MD5"),), "Digest"),
        ((digest("SHA-256"),), "Digest"),
        ((digest("SHA-512-256"), digest("SHA-256"), BASIC), "Digest"),
        ((BASIC, digest("MD5")), "Digest"),
        ((digest("SHA-512-256"), BASIC), "Basic"),
    ],
)
def test_the_best_login_that_is_offered(challenges: tuple[str, ...], scheme: str) -> None:
    guard = Guarded(*challenges)
    with Server(guard) as server:
        assert body_of(server.url("snap")) == b"body"
    assert [login.partition(" ")[0] for login in guard.logins] == ["", scheme]


@pytest.mark.parametrize("challenge", [BASIC, digest("MD5"), digest("SHA-256"), digest("x")])
def test_a_wrong_password_is_tried_once(challenge: str) -> None:
    guard = Guarded(challenge)
    with Server(guard) as server, pytest.raises(SourceError, match="password refused") as caught:
        body_of(server.url("snap").replace("hush", "rush"))
    assert caught.value.retry == "slowly"
    assert len([login for login in guard.logins if login]) <= 1


def test_ffmpeg_logs_in_by_digest_too(tmp_path: Path) -> None:
    guard = Guarded(digest("MD5"), body=make_clip(tmp_path / "clip.ts").read_bytes())
    with Server(guard) as server, open_source(server.url("live.ts"), QUICK) as source:
        assert len(list(source)) > 10
    assert guard.logins[-1].startswith("Digest ")


@pytest.mark.parametrize("path", ["start", "start.ts"])  # asked for here first; by FFmpeg first
def test_a_redirect_keeps_the_login_on_its_own_host(tmp_path: Path, path: str) -> None:
    guard = Guarded(BASIC, body=make_clip(tmp_path / "clip.ts").read_bytes())
    with Server(guard) as server:
        guard.moved = f"http://127.0.0.1:{server.port}/moved.ts"
        with open_source(server.url(path), QUICK) as source:
            assert len(list(source)) > 10
            assert "hush" not in source.name


@pytest.mark.parametrize("path", ["start", "start.ts", "start.mp4"])
@pytest.mark.parametrize("challenge", [BASIC, digest("MD5")])
def test_a_login_is_not_carried_to_another_host(
    path: str, challenge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "closeness", lambda _: 0)  # servers in the open network
    other, guard = Guarded(challenge), Guarded(challenge)
    with Server(other) as elsewhere, Server(guard) as server:
        guard.moved = f"http://127.0.0.1:{elsewhere.port}/moved.ts"
        with pytest.raises(SourceError, match="user or password refused"):
            open_source(server.url(path), QUICK)
    assert other.logins
    assert set(other.logins) == {""}


@pytest.mark.parametrize(
    "challenge", ['Digest realm="a", nonce=', "Digest realm=, nonce=x", "Digest realm", "Digest ="]
)
def test_a_challenge_that_is_cut_short(challenge: str) -> None:
    guard = Guarded(challenge)
    with Server(guard) as server, pytest.raises(SourceError, match="password refused"):
        body_of(server.url("snap"))


def test_what_is_no_http_is_said_so() -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(b"\x00\x01 binary\r\n\r\n")

    with Server(serve) as server, pytest.raises(SourceError, match="no HTTP") as caught:
        body_of(server.url("snap"))
    assert caught.value.retry == "soon"
