"""A server gets the password of a camera only if it is that camera."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import av
import cv2
import pytest
from facestream.pipeline.core.config import LiveSettings, Settings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.observability.camera_probe import probe_cameras
from facestream.pipeline.sources import SourceOptions, Tls, open_source, reach, served_file
from facestream.pipeline.sources.allowed import STREAMS
from facestream.pipeline.sources.hardware import BY_CPU
from facestream.pipeline.sources.opening import Opening, open_container

from tests.decoders import isolated
from tests.media import make_clip, picture
from tests.pipeline.ingest.loopback import watching
from tests.servers.recorder import (
    LOGIN,
    Certificates,
    Recorder,
    Reply,
    http_login,
    rtsp,
    rtsp_login,
)
from tests.servers.rtsp import RtspServer

QUICK = SourceOptions(open_timeout=3.0, read_timeout=2.0)
BASIC = 'Basic realm="cam"'
DIGEST = 'Digest realm="cam", nonce="n0", algorithm=MD5'


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.ts").read_bytes()


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands for the open network, where redirects may lead anywhere."""
    monkeypatch.setattr(reach, "closeness", lambda _: 0)


def gone(head: str) -> bytes:
    return rtsp("404 Not Found", head)


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
@pytest.mark.parametrize(
    ("certificate", "trusts_ca", "why"),
    [
        ("own_other_name", False, "self-signed certificate"),
        ("own", True, "self-signed certificate"),
        ("good", False, "unable to get local issuer certificate|self-signed certificate"),
        ("other_name", True, "IP address mismatch"),
    ],
)
@pytest.mark.parametrize("scheme", ["rtsps", "https"])
def test_a_certificate_that_is_not_trusted_gets_no_password(
    scheme: str,
    certificate: str,
    trusts_ca: bool,
    why: str,
    challenge: str,
    certificates: Certificates,
) -> None:
    reply = rtsp_login(challenge, gone) if scheme == "rtsps" else http_login(challenge, b"", "")
    tls = Tls(certificates.ca if trusts_ca else None)
    with Recorder(reply, certificate=getattr(certificates, certificate)) as server:
        with pytest.raises(SourceError, match=why) as caught:
            open_source(server.url(scheme), replace(QUICK, tls=tls))
        assert "give the file of its CA as tls_ca, or set tls_verify = false" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.retry == "slowly"
        assert server.connections
        assert server.received == b""  # no request at all: tokens of a path are secrets, too


@pytest.mark.parametrize("scheme", ["rtsps", "rtmps", "tls"])
def test_ffmpeg_itself_checks_too(scheme: str, certificates: Certificates) -> None:
    with Recorder(rtsp_login(BASIC, gone), certificate=certificates.own_other_name) as server:
        options = Tls(certificates.ca).ffmpeg_options()
        opening = Opening(STREAMS[scheme], BY_CPU, "cam", options=options, timeout=(3, 3))
        with pytest.raises(av.error.FFmpegError):
            open_container(server.url(scheme), opening)
        assert server.connections
        assert server.received == b""


def test_what_ffmpeg_does_not_say_of_a_certificate(certificates: Certificates) -> None:
    with (
        Recorder(gone, certificate=certificates.own_other_name) as server,
        pytest.raises(SourceError, match=r"not trusted \(self-signed certificate\)"),
    ):
        open_source(server.url("rtmps"), QUICK)


@pytest.mark.parametrize("tls", ["ca", "own certificate", "unchecked"])
@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
def test_the_right_certificate_lets_the_login_through(
    tls: str, challenge: str, certificates: Certificates
) -> None:
    certificate, how = {
        "ca": (certificates.good, Tls(certificates.ca)),
        "own certificate": (certificates.own, Tls(certificates.own)),
        "unchecked": (certificates.own_other_name, Tls(verify=False)),
    }[tls]
    with Recorder(rtsp_login(challenge, gone), certificate=certificate) as server:
        with pytest.raises(SourceError, match="not found"):
            open_source(server.url("rtsps"), replace(QUICK, tls=how))
        assert server.knows_the_password


def test_a_real_server_over_rtsps(tmp_path: Path, certificates: Certificates) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=100)
    user, password = LOGIN.split(":")
    with RtspServer(
        {"/clip": clip}, user=user, password=password, certificate=certificates.good
    ) as server:
        url = server.url("/clip", login=LOGIN)
        with pytest.raises(SourceError, match="not trusted"):
            open_source(url, QUICK)
        with isolated(url, replace(QUICK, tls=Tls(certificates.ca))) as source:
            assert next(source.pictures()).image() is not None


@pytest.mark.parametrize("kind", ["image/jpeg", "multipart/x-mixed-replace", "video/mp2t"])
def test_https_with_the_right_ca(kind: str, clip: bytes, certificates: Certificates) -> None:
    content = (
        clip if kind == "video/mp2t" else cv2.imencode(".jpg", picture(1, (64, 48)))[1].tobytes()
    )
    reply = http_login(BASIC, content, kind)
    options = replace(QUICK, tls=Tls(certificates.ca), snapshot_every=0.01)
    with Recorder(reply, certificate=certificates.good) as server:
        with open_source(server.url("https"), options) as source:
            assert next(iter(source.pictures())).image() is not None
        assert server.knows_the_password
    with Recorder(reply, certificate=certificates.own_other_name) as server:
        with pytest.raises(SourceError, match="not trusted"):
            open_source(server.url("https"), options)
        assert not served_file(server.url("https", "clip.mp4"), options)
        assert server.received == b""


def test_a_ca_that_cannot_be_read(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with Recorder(gone, certificate=certificates.good) as server:
        for name in ("empty.pem", "none.pem"):
            for scheme in ("rtsps", "https"):
                with pytest.raises(SourceError, match=f"tls_ca: .*{name} cannot be used"):
                    open_source(server.url(scheme), replace(QUICK, tls=Tls(tmp_path / name)))


def test_unchecked_certificates_are_a_warning(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"url": "https://127.0.0.1:9/x", "tls_verify": False}
    settings = Settings().with_values({"cameras": {"door": table, "plain": {"url": "rtsp://h"}}})
    assert settings.for_source("door").live.tls_verify is False
    assert settings.for_source("plain").live.tls_verify is True
    with caplog.at_level(logging.WARNING):
        probe_cameras(["door"], settings, {}, read="properties")
        with watching("rtsp://127.0.0.1:9/x", live=LiveSettings(tls_verify=False)):
            pass
    warnings = [r.getMessage() for r in caplog.records if "tls_verify" in r.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("door: tls_verify = false, its certificate is not checked")


def redirecting(to: str, *, after: str = "DESCRIBE") -> Reply:
    def reply(head: str) -> bytes:
        if head.startswith(after):
            return rtsp("302 Found", head, f"Location: {to}")
        return rtsp("200 OK", head)

    return reply


@pytest.mark.parametrize("challenge", [BASIC, DIGEST])
@pytest.mark.parametrize("after", ["OPTIONS", "DESCRIBE"])
@pytest.mark.parametrize("logs_in", ["first", "never"])
def test_a_redirect_of_rtsp_takes_no_login_along(challenge: str, after: str, logs_in: str) -> None:
    with Recorder(rtsp_login(challenge, gone)) as other:
        reply = redirecting(f"rtsp://127.0.0.1:{other.port}/y", after=after)
        with Recorder(rtsp_login(challenge, reply) if logs_in == "first" else reply) as server:
            with pytest.raises(SourceError, match="redirects to another host") as caught:
                open_source(server.url("rtsp", "c0ffee"), QUICK)
            assert "c0ffee" not in str(caught.value)
        assert other.connections == 0


def test_a_late_redirect_of_rtsp_is_not_followed() -> None:
    described = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    described += "a=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    with Recorder(rtsp_login(BASIC, gone)) as other:

        def reply(head: str) -> bytes:
            if head.startswith("DESCRIBE"):
                kind, size = "Content-Type: application/sdp", f"Content-Length: {len(described)}"
                return rtsp("200 OK", head, kind, size) + described.encode()
            if head.startswith("SETUP"):
                return rtsp("302 Found", head, f"Location: rtsp://127.0.0.1:{other.port}/y")
            return rtsp("200 OK", head)

        with Recorder(rtsp_login(BASIC, reply)) as server:
            with pytest.raises(SourceError, match="cannot open"):
                open_source(server.url("rtsp"), QUICK)
            assert b"SETUP" in server.received
        assert other.connections == 0


@pytest.mark.parametrize("after", ["OPTIONS", "DESCRIBE"])
@pytest.mark.parametrize("logs_in", [True, False])
def test_a_redirect_for_ffmpeg_alone_is_not_followed(after: str, logs_in: bool) -> None:
    """The server redirects the second connection only, which FFmpeg makes."""
    with Recorder(rtsp_login(BASIC, gone)) as other:
        moved = redirecting(f"rtsp://127.0.0.1:{other.port}/y", after=after)

        def reply(head: str) -> bytes:
            return rtsp("200 OK", head) if "User-Agent: facestream" in head else moved(head)

        with (
            Recorder(rtsp_login(BASIC, reply) if logs_in else reply) as server,
            pytest.raises(SourceError, match="cannot open"),
        ):
            open_source(server.url("rtsp"), QUICK)
        assert server.connections == 2
        assert other.connections == 0


def test_a_redirect_from_rtsps_to_rtsp_is_refused(certificates: Certificates) -> None:
    with Recorder(gone) as other:
        reply = redirecting(f"rtsp://127.0.0.1:{other.port}/y")
        with (
            Recorder(reply, certificate=certificates.good) as server,
            pytest.raises(SourceError, match="redirects to another host"),
        ):
            open_source(server.url("rtsps"), replace(QUICK, tls=Tls(certificates.ca)))
        assert other.connections == 0


def test_a_redirect_on_the_same_host_is_followed() -> None:
    def reply(head: str) -> bytes:
        if head.startswith("DESCRIBE") and "/second " not in head:
            return rtsp("301 Moved", head, "Location: /second")
        return gone(head) if head.startswith("DESCRIBE") else rtsp("200 OK", head)

    with Recorder(rtsp_login(DIGEST, reply)) as server:
        with pytest.raises(SourceError, match="not found"):
            open_source(server.url("rtsp", "first"), QUICK)
        assert b"DESCRIBE rtsp://127.0.0.1" in server.received
        assert b"/second RTSP" in server.received
    with Recorder(redirecting("/x")) as server, pytest.raises(SourceError, match="in a circle"):
        open_source(server.url("rtsp"), QUICK)


def test_a_redirect_from_https_to_http_is_refused(certificates: Certificates) -> None:
    with Recorder(lambda _: b"") as other:

        def moved(_: str) -> bytes:
            return f"HTTP/1.0 302 x\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()

        with (
            Recorder(moved, certificate=certificates.good) as server,
            pytest.raises(SourceError, match="from https to http"),
        ):
            open_source(server.url("https"), replace(QUICK, tls=Tls(certificates.ca)))
        assert other.connections == 0


@pytest.mark.usefixtures("far_away")
def test_a_login_that_a_redirect_names_is_not_used() -> None:
    with Recorder(http_login(BASIC, b"", "")) as other:

        def moved(_: str) -> bytes:
            to = f"http://{LOGIN}@127.0.0.1:{other.port}/"
            return f"HTTP/1.0 302 x\r\nLocation: {to}\r\n\r\n".encode()

        with Recorder(moved) as server, pytest.raises(SourceError, match="password refused"):
            open_source(server.url("http", login=""), QUICK)
        assert not other.knows_the_password


@pytest.mark.parametrize("endless", [True, False])
def test_the_body_of_a_redirect_is_not_read(endless: bool, clip: bytes) -> None:
    def reply(head: str) -> bytes:
        if head.startswith("GET /x"):
            length = "" if endless else f"Content-Length: {1 << 40}\r\n"
            return f"HTTP/1.0 302 x\r\nLocation: /y\r\n{length}\r\n".encode() + bytes(1 << 16)
        return b"HTTP/1.0 200 OK\r\n\r\n" + clip

    with Recorder(reply) as server, open_source(server.url("http"), QUICK) as source:
        assert source.info.width
