"""URLs that are decoded in a process of their own: TLS, files over HTTP, errors."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import (
    Source,
    SourceOptions,
    SourceSpec,
    Tls,
    file_source,
    open_source,
)
from facestream.pipeline.sources.process.link import DecoderLost

from tests.decoders import decoders, in_process
from tests.media import make_clip
from tests.servers.recorder import Certificates, Recorder, Reply, http_login, rtsp, rtsp_login
from tests.servers.web import WebServer

QUICK = SourceOptions(open_timeout=8.0, read_timeout=4.0)
BASIC = 'Basic realm="cam"'


def url_of(location: str) -> SourceSpec:
    return SourceSpec("url", location, "door")


def failure(opener: Callable[[SourceSpec, SourceOptions], Source], spec: SourceSpec) -> SourceError:
    with pytest.raises(SourceError) as caught, opener(spec, replace(QUICK, refuse_above=10_000)):
        pass
    return caught.value


def test_the_file_of_a_ca(tmp_path: Path, certificates: Certificates) -> None:
    """It is the one file, besides the system's, that the decoder reads."""
    (tmp_path / "elsewhere").mkdir()
    ca = tmp_path / "elsewhere/ca.pem"
    ca.write_bytes(certificates.ca.read_bytes())
    options = replace(QUICK, tls=Tls(ca))
    content = make_clip(tmp_path / "clip.ts").read_bytes()
    reply = http_login(BASIC, content, "video/mp2t")
    with Recorder(reply, certificate=certificates.good) as server:
        with in_process(url_of(server.url("https")), options) as source:
            assert next(iter(source.pictures())).image() is not None
        assert server.knows_the_password
    reply = rtsp_login(BASIC, lambda head: rtsp("404 Not Found", head))
    with Recorder(reply, certificate=certificates.good) as server:
        with pytest.raises(SourceError, match="not found"):
            in_process(url_of(server.url("rtsps")), options)
        assert server.knows_the_password


def page(_: str) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"


def forbidden(_: str) -> bytes:
    return b"HTTP/1.0 403 No\r\n\r\n"


def elsewhere(_: str) -> bytes:
    return b"HTTP/1.0 302 x\r\nLocation: http://127.0.0.1:9/\r\n\r\n"


def test_errors_cross_unchanged(tmp_path: Path, certificates: Certificates) -> None:
    """Text, reason, and when to try again."""
    large = make_clip(tmp_path / "large.ts", frames=3, size=(160, 120)).read_bytes()
    served: list[tuple[str, Reply, Path | None]] = [
        ("http", page, None),
        ("http", forbidden, None),
        ("http", http_login(BASIC, large, "video/mp2t"), None),
        ("https", elsewhere, certificates.own),
        ("rtsps", forbidden, certificates.own_other_name),
        ("rtsp", lambda head: rtsp("401 Unauthorized", head, f"WWW-Authenticate: {BASIC}"), None),
    ]
    servers = [(scheme, Recorder(reply, certificate=path)) for scheme, reply, path in served]
    specs = [url_of(server.url(scheme)) for scheme, server in servers]
    specs += [url_of("gopher://127.0.0.1/"), url_of("http://127.0.0.1:9/x.ts")]
    with ThreadPoolExecutor(3) as pool:  # three decoders start at a time
        expected = list(pool.map(lambda spec: failure(open_source, spec), specs))
        found = list(pool.map(lambda spec: failure(in_process, spec), specs))
    for _, server in servers:
        server.close()
    for ours, theirs in zip(found, expected, strict=True):
        assert (str(ours), ours.reason, ours.retry) == (str(theirs), theirs.reason, theirs.retry)
        assert not isinstance(ours, DecoderLost)
    said = " ".join(map(str, found))
    for part in ("web page", "160x120 pixels", "self-signed certificate", "password refused"):
        assert part in said
    assert {error.retry for error in found} == {"soon", "slowly", "never"}
    assert decoders() == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8"])
def test_a_file_on_a_server(tmp_path: Path, name: str) -> None:
    """An MP4 whose index lies at its end, and a playlist: several requests, in the decoder."""
    part = "clip.mp4" if name == "clip.mp4" else "part.ts"
    clip = make_clip(tmp_path / part, frames=20, size=(160, 120))
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\npart.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "clip.m3u8").write_text(head)
    with open_source(file_source(clip)) as here:
        expected = [frame.image for frame in here]
    with WebServer(tmp_path) as server, in_process(url_of(server.url(f"/{name}")), QUICK) as source:
        assert not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    assert all((frame.image == image).all() for frame, image in zip(frames, expected, strict=True))
