"""Streams that are well, but odd: wrapped clocks, UDP, MJPEG without times, odd pixel formats."""

from __future__ import annotations

import socket
import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from av.video.frame import VideoFrame

from tests.media import make_clip, picture
from tests.pipeline.ingest.loopback import STREAM, Connection, Server, reading_threads, watching

WRAP = 2**33


def ticking(path: Path, ticks: list[int]) -> bytes:
    """A transport stream whose frames have these times, in ticks of 90 kHz."""
    with av.open(str(path), "w", options={"mpegts_copyts": "1"}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
        for index in range(len(ticks)):
            frame = VideoFrame.from_ndarray(picture(index, (160, 120)), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame):
                packet.time_base = Fraction(1, 90000)
                packet.pts = packet.dts = ticks[index]
                container.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("wrap", [(WRAP - 25 * 3600 + n * 3600) % WRAP for n in range(60)]),
        ("backwards", [900000 + n * 3600 if n < 30 else n * 3600 for n in range(60)]),
        ("forwards", [n * 3600 + (n >= 30) * 90000 * 600 for n in range(60)]),
    ],
)
def test_the_clock_of_the_stream_may_jump(tmp_path: Path, name: str, times: list[int]) -> None:
    parts = [times[:30], times[30:]]  # a muxer refuses times that fall
    if name == "wrap":
        cut = times.index(min(times))
        parts = [times[:cut], times[cut:]]
    content = b"".join(ticking(tmp_path / f"{n}.ts", part) for n, part in enumerate(parts))

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(content, seconds=2.4)
        connection.hold()

    with Server(serve) as server, watching(server.url()) as watched:
        watched.until(lambda: watched.reader.state.read >= 57)
        assert watched.reader.state.restarts == 0
        assert watched.states[:2] == ["connecting", "live"]
        assert 1.5 < watched.reader.state.seconds < 6
    assert all(0 < b.pts - a.pts < 2 for a, b in pairwise(watched.frames))
    assert all(abs(frame.utc - time.time()) < 30 for frame in watched.frames)


def test_mpeg_ts_over_udp(tmp_path: Path) -> None:
    content = make_clip(tmp_path / "clip.ts", frames=50, fps=25).read_bytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            while not over.is_set():
                for at in range(0, len(content), 1316):
                    channel.sendto(content[at : at + 1316], ("127.0.0.1", port))
                    time.sleep(2.0 * 1316 / len(content))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with watching(f"udp://127.0.0.1:{port}") as watched:
            watched.until(lambda: watched.reader.state.read > 80)
            assert watched.states == ["connecting", "live"]
            assert watched.stop() < 2
    finally:
        over.set()
        thread.join()
    assert reading_threads() == []
    assert all(a.pts < b.pts for a, b in pairwise(watched.frames))


def test_mjpeg_has_the_times_of_its_arrival() -> None:
    jpegs = [cv2.imencode(".jpg", picture(n, (160, 120)))[1].tobytes() for n in range(20)]

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"
        )
        for jpeg in jpegs:
            head = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            connection.send(head + jpeg + b"\r\n")
            time.sleep(0.1)
        connection.hold()

    with Server(serve) as server, watching(server.url("mjpeg")) as watched:
        watched.until(lambda: watched.reader.state.read >= 19)
        # FFmpeg would say 25 frames a second.
        assert watched.reader.state.seconds > 1.5
        assert watched.states == ["connecting", "live"]


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv422p10le", "gray"])
def test_odd_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    codec = "libx264" if pixel_format != "gray" else "ffv1"
    clip = make_clip(
        tmp_path / "clip.mkv",
        frames=40,
        fps=25,
        size=(161, 121) if codec == "ffv1" or pixel_format == "yuv444p" else (160, 120),
        codec=codec,
        pixel_format=pixel_format,
    )
    content = clip.read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\n")
        connection.stream(content, seconds=1)
        connection.hold()

    with Server(serve) as server, watching(server.url("x.mkv")) as watched:
        watched.until(lambda: len(watched.frames) > 5)
    assert all(frame.image.shape[2] == 3 for frame in watched.frames)
