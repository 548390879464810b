"""A live source over real sockets, and everything that may happen to it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from facestream.pipeline.core.config import LiveSettings
from facestream.pipeline.metrics.families import (
    FRAMES_IN,
    FRAMES_SKIPPED,
    SOURCE_RESTARTS,
    SOURCE_STATE,
)
from facestream.pipeline.sources import SourceOpener, SourceOptions

from tests.media import join_clips, make_clip, picture
from tests.pipeline.ingest.loopback import (
    QUICK,
    STREAM,
    Connection,
    Server,
    open_descriptors,
    watching,
)


def spoil(path: Path) -> Path:
    """A second of pictures, then five in which every packet is noise."""
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "10"}
        for index in range(150):
            frame = VideoFrame.from_ndarray(picture(index, (160, 120)), format="bgr24")
            for packet in stream.encode(frame):
                if index < 25:
                    container.mux(packet)
                    continue
                noise = Packet(b"\0\0\0\1\x41" + rng.bytes(300))
                noise.pts = noise.dts = packet.pts
                noise.time_base, noise.stream = packet.time_base, stream
                container.mux(noise)
    return path


def silent(connection: Connection) -> None:
    connection.hold()


def test_lost_and_found_again(clip: bytes, opener: SourceOpener) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        # The second half of a packet never comes.
        connection.stream(clip[: len(clip) * 2 // 3 + 77], seconds=1.0)
        connection.reset()

    with Server(serve) as server, watching(server.url(), opener=opener) as watched:
        watched.until(lambda: watched.reader.state.restarts == 3)
        watched.until_state("live")
    states = watched.states
    assert states[:5] == ["connecting", "live", "retrying", "live", "retrying"]
    assert states[-1] == "ended"
    lost = watched.events[2]
    assert lost.previous == "live"
    assert lost.reason is not None
    assert lost.retry_in is not None
    assert 0 < lost.retry_in <= QUICK.retry_longest
    assert [frame.index for frame in watched.frames] == sorted(
        {frame.index for frame in watched.frames}
    )
    pts = [frame.pts for frame in watched.frames]
    assert all(a < b for a, b in itertools.pairwise(pts))
    name = watched.reader.state.name
    assert watched.metrics.value(SOURCE_RESTARTS, source=name) == watched.reader.state.restarts
    assert watched.metrics.value(SOURCE_STATE, source=name, state="ended") == 1
    assert watched.metrics.value(SOURCE_STATE, source=name, state="live") == 0
    assert watched.metrics.value(FRAMES_IN, source=name) == watched.reader.state.read


def test_silent_after_a_while_is_stalled_then_opened_again(
    clip: bytes, opener: SourceOpener
) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(clip[: len(clip) // 2], seconds=0.5)
        if connection.number == 1:
            connection.hold()
        connection.stream(clip[len(clip) // 2 :], seconds=2)

    with Server(serve) as server, watching(server.url(), opener=opener) as watched:
        watched.until(lambda: watched.reader.state.restarts == 1)
    assert watched.states[:5] == ["connecting", "live", "stalled", "retrying", "live"]
    assert watched.events[2].reason == "no frame for 0.7 s"


def test_a_stall_that_passes_is_no_restart(clip: bytes) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(clip[: len(clip) // 2], seconds=0.5)
        time.sleep(1.0)
        connection.stream(clip[len(clip) // 2 :], seconds=1)
        connection.hold()

    with Server(serve) as server, watching(server.url()) as watched:
        watched.until(lambda: watched.states.count("live") == 2)
        assert watched.states == ["connecting", "live", "stalled", "live"]
        assert watched.reader.state.restarts == 0


def test_packets_without_a_picture_are_noticed(
    clip: bytes, tmp_path: Path, opener: SourceOpener
) -> None:
    """The stream goes on, but nothing in it decodes any more."""
    spoilt = spoil(tmp_path / "spoilt.ts").read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        if connection.number == 1:
            connection.stream(spoilt, seconds=6)
        connection.stream(clip, seconds=2)
        connection.hold()

    with Server(serve) as server, watching(server.url(), opener=opener) as watched:
        watched.until(lambda: watched.reader.state.restarts == 1)
        assert watched.reader.state.corrupt > 10
    assert watched.states[:5] == ["connecting", "live", "stalled", "retrying", "live"]
    assert watched.events[3].reason == "no frame for 1.5 s"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "user or password refused"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "not found (404); check the path"),
        (
            b"HTTP/1.0 200 OK\r\nContent-Length: 1700\r\n\r\n" + b"this is no video\n" * 100,
            "what it sends is no video (invalid data)",
        ),
        (STREAM + b"this is no video\n" * 500, "what it sends is no video (invalid data)"),
        (b"", "the server closed the connection without an answer"),
    ],
)
def test_refused_is_tried_again_with_the_reason(answer: bytes, reason: str) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(answer)

    with Server(serve) as server, watching(server.url()) as watched:
        watched.until(lambda: server.clients >= 3)
        watched.until_state("retrying")
        assert watched.states == ["connecting", "retrying"]
        assert watched.events[1].reason == reason
        assert watched.stop() < 2
    assert watched.reader.state.problems
    assert not watched.reader.state.opened


def test_nobody_listens_many_times_leaves_nothing(clip: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    impatient = LiveSettings(retry_first=0.002, retry_longest=0.002)
    with watching(f"rtsp://bob:hush@127.0.0.1:{port}/x", live=impatient) as watched:
        watched.until_state("retrying")
        before = open_descriptors()
        threads = threading.active_count()
        name = watched.reader.state.name
        time.sleep(2.0)
        assert open_descriptors() <= before + 2
        assert threading.active_count() <= threads + 1
        assert watched.states == ["connecting", "retrying"]  # one event, not hundreds
        assert watched.metrics.value(SOURCE_STATE, source=name, state="retrying") == 1


def test_a_name_that_does_not_exist() -> None:
    with watching("rtsp://bob:hush@no-such-camera.invalid/x") as watched:
        watched.until_state("retrying")
        assert watched.stop() < 2
    assert watched.events[1].reason == "the name of the host is not known (DNS)"


def test_an_unknown_protocol_has_failed() -> None:
    with watching("gopherx://bob:hush@127.0.0.1/x") as watched:
        watched.thread.join(10)
        assert watched.states == ["connecting", "failed"]
    (problem,) = watched.reader.state.problems
    assert problem.startswith("gopherx://127.0.0.1: there is no kind of URL 'gopherx' here; use ")


def test_a_device_that_is_no_camera_has_failed_an_absent_one_is_awaited() -> None:
    with watching("/dev/video97") as watched:
        watched.until_state("retrying")
    assert "no /dev/video97" in (watched.events[1].reason or "")


def test_a_camera_that_opens_and_never_sends_is_given_up() -> None:
    with Server(silent) as server, watching(server.url(), live=SHORT) as watched:
        watched.until(lambda: server.clients >= 3)
        assert watched.events[1].reason == "no answer within 0.3 s"


SHORT = QUICK.model_copy(update={"open_timeout": 0.3, "read_timeout": 0.5})


def test_the_size_may_change_in_midstream(tmp_path: Path, opener: SourceOpener) -> None:
    parts = [
        make_clip(tmp_path / "small.ts", frames=25, fps=25),
        make_clip(tmp_path / "large.ts", frames=25, fps=25, size=(320, 240)),
        make_clip(tmp_path / "slow.ts", frames=10, fps=10),
    ]
    content = join_clips(tmp_path / "all.ts", parts).read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(content, seconds=2)
        connection.hold()

    with Server(serve) as server, watching(server.url(), opener=opener) as watched:
        watched.until(lambda: watched.reader.state.seconds > 2 or len(watched.frames) >= 57)
        assert watched.reader.state.restarts == 0
    sizes = [frame.image.shape[:2] for frame in watched.frames]
    assert {(120, 160), (240, 320)} == set(sizes)
    pts = [frame.pts for frame in watched.frames]
    assert all(0 < b - a < 3 for a, b in itertools.pairwise(pts))


def test_the_codec_may_change_in_midstream(tmp_path: Path) -> None:
    first = make_clip(tmp_path / "first.ts", frames=50, fps=25)
    second = make_clip(tmp_path / "second.ts", frames=150, fps=25, codec="mpeg2video")
    content = first.read_bytes() + second.read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        if connection.number == 1:
            connection.stream(content, seconds=6)
        connection.stream(second.read_bytes(), seconds=4)
        connection.hold()

    patient = QUICK.model_copy(update={"read_timeout": 10.0})
    with Server(serve) as server, watching(server.url(), live=patient) as watched:
        watched.until(lambda: watched.reader.state.restarts == 1)
    assert "cannot be decoded any more" in str([event.reason for event in watched.events])


def test_only_every_nth_frame_is_delivered(clip: bytes) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(clip, seconds=1.5)
        connection.reset()

    options = SourceOptions(every=4, max_frames=100)
    with Server(serve) as server, watching(server.url(), options=options) as watched:
        watched.thread.join(20)
    state = watched.reader.state
    assert all(frame.index % 4 == 0 for frame in watched.frames)
    assert (state.read, state.skipped, state.restarts) == (25, 75, 1)
    assert watched.states == ["connecting", "live", "retrying", "live", "ended"]
    assert watched.metrics.value(FRAMES_IN, source=state.name) == 100
    assert watched.metrics.value(FRAMES_SKIPPED, source=state.name) == 75


def test_a_frozen_picture_is_stalled_and_goes_on(tmp_path: Path) -> None:
    still = make_clip(
        tmp_path / "still.ts",
        frames=40,
        fps=25,
        draw=lambda _, size: np.full((size[1], size[0], 3), 90, np.uint8),
    ).read_bytes()
    moving = make_clip(tmp_path / "moving.ts", frames=25, fps=25).read_bytes()
    released = threading.Event()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(STREAM)
        connection.stream(moving, seconds=1)
        while not released.is_set():
            connection.stream(still, seconds=1.6)
        connection.stream(moving, seconds=1)
        connection.hold()

    live = QUICK.model_copy(update={"frozen_after": 1.0})
    with Server(serve) as server, watching(server.url(), live=live) as watched:
        watched.until_state("stalled")
        assert watched.events[-1].reason == "the picture has not changed for 1 s"
        count = len(watched.frames)
        watched.until(lambda: len(watched.frames) > count + 10)  # they are still delivered
        released.set()
        watched.until(lambda: watched.states[-2:] == ["stalled", "live"])
        assert watched.reader.state.restarts == 0


def test_a_file_over_http_is_read_whole_and_ends(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=60, options={"movflags": "faststart"})
    content = path.read_bytes()

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        connection.send(content)

    with Server(serve) as server, watching(server.url("clip.mp4")) as watched:
        watched.thread.join(20)
        assert watched.states == ["connecting", "live", "ended"]
        watched.until(lambda: len(watched.frames) == 60)
    assert [frame.index for frame in watched.frames] == list(range(60))
    assert watched.frames[59].pts == pytest.approx(5.9, abs=1e-3)
    assert watched.reader.state.problems == []
