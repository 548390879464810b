"""What FFmpeg may use for each kind of source: no text makes it open another file or host."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import av
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import SourceOptions, StdinSource, Tls, open_source, reach
from facestream.pipeline.sources.allowed import CODECS, DEVICE, FILE, HTTP, PIPE, STREAMS, Allowed
from facestream.pipeline.sources.base import SourceSpec
from facestream.pipeline.sources.hardware import BY_CPU
from facestream.pipeline.sources.opening import Opening, open_container

from tests.media import make_clip
from tests.servers.recorder import Certificates, Recorder, http_login

QUICK = SourceOptions(open_timeout=3.0, read_timeout=2.0)
# Of the formats that FFmpeg has: those that open something beside what they are given.
REFERRING = {
    *("concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp", "tee"),
    *("vobsub", "webm_dash_manifest", "smoothstreaming", "video4linux2,v4l2", "x11grab", "fbdev"),
}
M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
TEXTS = {
    "ffconcat": "ffconcat version 1.0\nfile {}\n",
    "hls": M3U8,
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.ts")


@pytest.mark.parametrize("kind", ["file", "pipe", "device", "http", *STREAMS])
def test_each_kind_has_a_list(kind: str) -> None:
    lists = {"file": FILE, "pipe": PIPE, "device": DEVICE, "http": HTTP, **STREAMS}
    allowed = lists[kind]
    options = allowed.options()
    assert all(options[f"{what}_whitelist"] for what in ("protocol", "format", "codec"))
    needed = {"device": {"video4linux2"}, "http": {"hls", "dash"}, "rtp": {"rtp"}}
    needed |= {scheme: {"rtsp"} for scheme in ("rtsp", "rtsps")}
    assert set(allowed.formats) & REFERRING <= needed.get(kind, set())
    files = {"file", "concat", "subfile", "async", "cache", "data", "crypto", "pipe", "fd", "http"}
    assert not set(allowed.protocols) & files or kind in {"file", "device"}


def test_the_lists_name_what_ffmpeg_has() -> None:
    known = {name for found in av.formats_available for name in found.split(",")}
    for allowed in (FILE, PIPE, HTTP):
        assert len(set(allowed.formats) - known) <= 3  # builds differ
    assert len(CODECS - av.codecs_available) < 12


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".txt"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_is_no_video_whatever_its_name(
    kind: str, suffix: str, clip: Path, tmp_path: Path
) -> None:
    with Recorder(lambda _: b"") as server:
        for target in (str(clip), server.url("http", login="")):
            path = tmp_path / f"list{suffix}"
            path.write_text(TEXTS[kind].format(target))
            with pytest.raises(SourceError, match="is not a video") as caught:
                open_source(path)
            assert "\n" not in str(caught.value)
        assert server.connections == 0


@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_in_a_pipe_is_no_video(kind: str, clip: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, TEXTS[kind].format(clip).encode())
    os.close(writing)
    with pytest.raises(SourceError, match="cannot read stdin"):
        StdinSource(SourceSpec("stdin", "-", "stdin"), descriptor=reading)
    os.close(reading)


@pytest.mark.parametrize("kind", ["ffconcat", "hls", "sdp"])
def test_a_text_over_tcp_is_no_video(kind: str, clip: Path) -> None:
    # FFmpeg's tcp asks for nothing: the answer is sent at once.
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            channel, _ = server.accept()
            with channel:
                channel.sendall(TEXTS[kind].format(clip).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SourceError, match=r"cannot open tcp://127\.0\.0\.1: "):
            open_source(f"tcp://127.0.0.1:{server.getsockname()[1]}", QUICK)
        thread.join()


@pytest.mark.parametrize("prefix", ["concat:", "async:file:", "subfile:,,start,0,end,0,,:", ""])
@pytest.mark.parametrize("allowed", [PIPE, HTTP, STREAMS["tcp"], STREAMS["rtsp"]])
def test_no_url_opens_a_local_file(prefix: str, allowed: Allowed, clip: Path) -> None:
    with pytest.raises((av.error.FFmpegError, ValueError)):
        open_container(f"{prefix}{clip}", Opening(allowed, BY_CPU, "cam", timeout=(3, 3)))


def playlist_server(playlist: str, parts: dict[str, bytes]) -> Recorder:
    def reply(head: str) -> bytes:
        path = head.split()[1].lstrip("/")
        body = parts.get(path, playlist.encode() if path == "live.m3u8" else None)
        return b"HTTP/1.0 404 x\r\n\r\n" if body is None else b"HTTP/1.0 200 OK\r\n\r\n" + body

    return Recorder(reply)


@pytest.mark.parametrize(
    "part",
    [
        *("file:{clip}", "file://{clip}", "concat:{clip}", "subfile:,,start,0,end,0,,:{clip}"),
        *(
            "data:video/mp2t;base64,AAAA",
            "crypto:{clip}",
            "async:file:{clip}",
            "tcp://{local}/x.ts",
        ),
        *("rtsp://{local}/x.ts", "ftp://{local}/x.ts", "crypto+http://{local}/x.ts"),
    ],
)
def test_a_playlist_reaches_http_only(part: str, clip: Path) -> None:
    with Recorder(lambda _: b"") as other:
        target = part.format(clip=clip, local=f"127.0.0.1:{other.port}")
        with playlist_server(M3U8.format(target), {}) as server:
            with pytest.raises(SourceError) as caught:
                open_source(server.url("http", "live.m3u8"), QUICK)
            assert str(clip) not in str(caught.value)
            assert "\n" not in str(caught.value)
        assert other.connections == 0


def test_a_playlist_plays_and_its_login_stays_at_home(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "closeness", lambda _: 0)  # servers in the open network
    with Recorder(http_login('Basic realm="x"', clip.read_bytes(), "video/mp2t")) as other:
        names = ["a.ts", "missing.ts", f"http://127.0.0.1:{other.port}/b.ts", "c.ts"]
        text = M3U8.format("\n#EXTINF:9,\n".join(names))
        content = clip.read_bytes()
        with playlist_server(text, {"a.ts": content, "c.ts": content}) as server:
            ask = server.reply
            server.reply = lambda head: (
                ask(head)
                if "\nAuthorization" in head
                else b'HTTP/1.0 401 x\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
            )
            with open_source(server.url("http", "live.m3u8"), QUICK) as source:
                assert not source.live
                assert len(list(source)) == 40  # of a.ts and c.ts
        assert other.connections
        assert not other.knows_the_password


def test_a_playlist_is_known_by_its_type(clip: Path) -> None:
    def reply(head: str) -> bytes:
        if head.split()[1] == "/a.ts":
            return b"HTTP/1.0 200 OK\r\n\r\n" + clip.read_bytes()
        kind = b"Content-Type: application/vnd.apple.mpegurl\r\n"
        return b"HTTP/1.0 200 OK\r\n" + kind + b"\r\n" + M3U8.format("a.ts").encode()

    with Recorder(reply) as server, open_source(server.url("http", "live"), QUICK) as source:
        assert len(list(source)) == 20


def test_an_encrypted_connection_plays_a_playlist(clip: Path, certificates: Certificates) -> None:
    with playlist_server(M3U8.format("a.ts"), {"a.ts": clip.read_bytes()}) as plain:
        reply = plain.reply
    with Recorder(reply, certificate=certificates.good) as server:
        options = replace(QUICK, tls=Tls(certificates.ca))
        with open_source(server.url("https", "live.m3u8"), options) as source:
            assert len(list(source)) == 20


@pytest.mark.parametrize("by", ["part", "redirect"])
def test_what_is_not_here_leads_not_here(
    by: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 stands for a server in the open network."""
    own = reach.closeness
    monkeypatch.setattr(
        reach, "closeness", lambda address: 0 if address == "127.0.0.2" else own(address)
    )
    with Recorder(lambda _: b"") as local:
        target = local.url("http", "x.ts", login="")

        def reply(head: str) -> bytes:
            if by == "redirect":
                return f"HTTP/1.0 302 x\r\nLocation: {target}\r\n\r\n".encode()
            return b"HTTP/1.0 200 OK\r\n\r\n" + M3U8.format(target).encode()

        with (
            Recorder(reply, host="127.0.0.2") as server,
            pytest.raises(SourceError, match="leads to an address of this machine"),
        ):
            open_source(server.url("http", "live.m3u8"), QUICK)
        assert local.connections == 0


@pytest.mark.parametrize("by", ["part", "redirect"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_a_server_here_leads_to_no_other_port(by: str, host: str) -> None:
    with Recorder(lambda _: b"") as other:
        target = f"http://{host}:{other.port}/x.ts"

        def reply(_: str) -> bytes:
            if by == "redirect":
                return f"HTTP/1.0 302 x\r\nLocation: {target}\r\n\r\n".encode()
            return b"HTTP/1.0 200 OK\r\n\r\n" + M3U8.format(target).encode()

        with (
            Recorder(reply) as server,
            pytest.raises(SourceError, match="another port of this machine"),
        ):
            open_source(server.url("http", "live.m3u8"), QUICK)
        assert other.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_camera_leads_to_no_other_device(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands for a private network; a device may name another port of its own."""
    monkeypatch.setattr(reach, "closeness", lambda _: 1)
    with Recorder(lambda _: b"HTTP/1.0 404 x\r\n\r\n", host=host) as other:

        def moved(_: str) -> bytes:
            return f"HTTP/1.0 302 x\r\nLocation: {other.url('http', login='')}\r\n\r\n".encode()

        why = "not found" if host == "127.0.0.1" else "another device of the private network"
        with Recorder(moved) as server, pytest.raises(SourceError, match=why):
            open_source(server.url("http"), QUICK)
        assert other.connections == (host == "127.0.0.1")


def test_a_playlist_that_names_itself_has_an_end() -> None:
    text = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlive.m3u8\n"
    quick = replace(QUICK, open_timeout=0.5)
    with (
        Recorder(lambda _: b"HTTP/1.0 200 OK\r\n\r\n" + text) as server,
        pytest.raises(SourceError, match="may lead in a circle") as caught,
    ):
        open_source(server.url("http", "live.m3u8"), quick)
    assert caught.value.retry == "slowly"


@pytest.mark.parametrize(
    ("address", "how_close"),
    [
        ("8.8.8.8", 0),
        ("2001:4860:4860::8888", 0),
        ("10.0.0.1", 1),
        ("192.168.1.1", 1),
        ("fd00::1", 1),
        ("169.254.169.254", 2),
        ("fe80::1%eth0", 2),
        ("127.0.0.1", 3),
        ("::1", 3),
        ("0.0.0.0", 3),
        ("::ffff:127.0.0.1", 3),
        ("::127.0.0.1", 3),
        ("64:ff9b::7f00:1", 3),
        ("64:ff9b::a00:1", 1),
        ("2002:a00:1::1", 1),
        ("::ffff:0:127.0.0.1", 3),
    ],
)
def test_how_close_an_address_is(address: str, how_close: int) -> None:
    assert reach.closeness(address) == how_close
