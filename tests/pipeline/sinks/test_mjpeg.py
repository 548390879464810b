"""The live picture over HTTP, as browsers and careless clients meet it."""

from __future__ import annotations

import gc
import http.client
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.errors import OutputError, UsageError
from facestream.pipeline.core.events import SourceStateEvent
from facestream.pipeline.core.types import Image, Track
from facestream.pipeline.sinks.mjpeg import views
from facestream.pipeline.sinks.mjpeg.sink import RestreamSink

from tests.pipeline.tracks import picture, result, track
from tests.waiting import wait_until

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
FREE = Address("127.0.0.1", 0)
TOKEN = "a token of some length"


@pytest.fixture
def sink() -> Iterator[RestreamSink]:
    with RestreamSink(FREE) as sink:
        yield sink


@contextmanager
def get(sink: RestreamSink, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(sink.address.host, sink.address.port, timeout=30)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            yield answer


def status(sink: RestreamSink, path: str, **headers: str) -> int:
    with get(sink, path, **headers) as answer:
        answer.read()
        return answer.status


def part(answer: http.client.HTTPResponse) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The next picture of a stream."""
    assert answer.readline().rstrip() == b"--frame"
    assert answer.readline().rstrip() == b"Content-Type: image/jpeg"
    length = int(answer.readline().split(b":")[1])
    assert answer.readline().rstrip() == b""
    data = answer.read(length)
    assert answer.read(2) == b"\r\n"
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_the_page_lists_the_sources_by_their_names(sink: RestreamSink) -> None:
    sink.write(result(picture(), source="rtsp://host/<main>"))
    sink.event(
        SourceStateEvent(source="gate", utc=datetime.fromtimestamp(1e9, UTC), state="retrying")
    )
    with get(sink, "/") as answer:
        text = answer.read().decode()
        assert answer.status == 200
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "rtsp://host/&lt;main&gt;" in text
    assert 'src="rtsp-host-main.mjpeg"' in text
    assert 'class="retrying"' in text
    with get(sink, "/sources.json") as answer:
        assert json.loads(answer.read()) == [
            {"name": "rtsp://host/<main>", "label": "rtsp-host-main", "state": None},
            {"name": "gate", "label": "gate", "state": "retrying"},
        ]


def test_the_page_runs_its_own_script_and_nothing_else(sink: RestreamSink) -> None:
    nonces = set()
    for _ in range(2):
        with get(sink, "/") as answer:
            text = answer.read().decode()
            policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'nonce-")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        nonce = policy.split("'nonce-")[1].split("'")[0]
        assert text.count(f'nonce="{nonce}"') == text.count("<script") + text.count("<style") == 2
        assert "style=" not in text
        nonces.add(nonce)
    assert len(nonces) == 2


def test_many_sources_are_shown_as_snapshots(sink: RestreamSink) -> None:
    for number in range(5):
        sink.write(result(picture(), source=f"cam {number}"))
    with get(sink, "/") as answer:
        text = answer.read().decode()
    assert text.count("data-snapshot=") == 5
    assert '<a href="cam-3.mjpeg">' in text


def test_a_snapshot_has_the_boxes_and_nothing_is_encoded_before(sink: RestreamSink) -> None:
    for _ in range(10):
        sink.write(result(picture(320, 240), track((60, 60, 160, 180)), source="door"))
    view = sink.views["door"]
    assert view.encoded == 0
    with get(sink, "/door.jpg") as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (240, 320, 3)
    assert np.ptp(np.asarray(image)[55:185, 55:165]) > 80, "a box is drawn on the grey picture"
    assert status(sink, "/door.jpg") == 200
    assert view.encoded == 1
    sink.event(SourceStateEvent(source="gate", utc=datetime.fromtimestamp(1e9, UTC), state="live"))
    assert status(sink, "/gate.jpg") == 503
    assert status(sink, "/window.jpg") == 404
    assert status(sink, "/window.mjpeg") == 404


def test_a_stream_shows_the_newest_frame_to_all_who_watch(sink: RestreamSink) -> None:
    sink.write(result(picture(shade=10), source="door"))
    view = sink.views["door"]
    with get(sink, "/door.mjpeg") as one, get(sink, "/door.mjpeg") as two:
        kind = one.headers["Content-Type"]
        assert kind == "multipart/x-mixed-replace; boundary=frame"
        for shade in (10, 90, 180):
            if shade != 10:
                sink.write(result(picture(shade=shade), source="door"))
            assert abs(int(part(one).mean()) - shade) < 4
            assert abs(int(part(two).mean()) - shade) < 4
        assert view.watchers == 2
        assert view.encoded == 3
        sink.source_ended("door")
        assert one.read() == b""
        assert two.read() == b""
    wait_until(lambda: view.watchers == 0)


def test_a_slow_client_misses_frames_and_holds_nobody(sink: RestreamSink) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    with socket.create_connection((sink.address.host, sink.address.port), timeout=30) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sink.write(result(noise, source="door"))
        slow.sendall(b"GET /door.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        view = sink.views["door"]
        wait_until(lambda: view.encoded == 1)
        for number in range(300):  # returns at once, however slow the client is
            sink.write(result(noise, source="door", index=number))
        with get(sink, "/door.mjpeg") as other:
            part(other)
        assert view.number == 301
        assert view.encoded < 50
        sink.close()  # with both still connected
    assert not [t for t in threading.enumerate() if t.name == "restream"]
    gc.collect()  # here a connection that was left open is an error


def test_the_pipeline_does_not_wait_while_a_frame_is_drawn(
    sink: RestreamSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, drawn = threading.Event(), threading.Event()

    def slow(canvas: Image, tracks: Iterable[Track]) -> None:
        drawing.set()
        assert drawn.wait(30)

    monkeypatch.setattr(views, "draw_tracks", slow)
    sink.write(result(picture(shade=10), source="door"))
    with get(sink, "/door.mjpeg") as answer:
        assert drawing.wait(30)
        sink.write(result(picture(shade=90), source="door"))
        sink.write(result(picture(shade=180), source="door"))
        assert not drawn.is_set(), "the frames were taken while the first one is drawn"
        drawn.set()
        assert [round(part(answer).mean() / 10) for _ in range(2)] == [1, 18]


def test_nothing_is_encoded_after_a_client_went_away(sink: RestreamSink) -> None:
    sink.write(result(picture(), source="door"))
    view = sink.views["door"]
    with get(sink, "/door.mjpeg") as answer:
        part(answer)
    wait_until(lambda: _gone(sink))
    before = view.encoded
    for _ in range(20):
        sink.write(result(picture(), source="door"))
    assert view.encoded == before


def _gone(sink: RestreamSink) -> bool:
    # The server notices when it has something to send.
    sink.write(result(picture(), source="door"))
    return sink.views["door"].watchers == 0


def test_a_token_is_asked_for_in_both_forms() -> None:
    with RestreamSink(FREE, token=TOKEN) as sink:
        sink.write(result(picture(), source="door"))
        for path in ("/", "/door.jpg", "/door.mjpeg", "/sources.json", "/nothing"):
            assert status(sink, path) == 401
            assert status(sink, f"{path}?token=wrong") == 401
            assert status(sink, path, Authorization="Bearer ü") == 401
        assert status(sink, "/door.jpg?token=a+token%20of+some+length") == 200
        assert status(sink, "/door.jpg", Authorization=f"Bearer {TOKEN}") == 200
        with get(sink, "/?token=a+token%20of+some+length") as answer:
            assert 'src="door.mjpeg?token=a%20token%20of%20some%20length"' in answer.read().decode()


def test_a_page_of_another_name_reads_nothing(sink: RestreamSink) -> None:
    sink.write(result(picture(), source="door"))
    assert status(sink, "/door.jpg", Host="evil.example") == 400
    assert status(sink, "/door.jpg", Host=f"localhost:{sink.address.port}") == 200


def test_other_machines_need_a_token() -> None:
    with pytest.raises(UsageError, match="a token is needed"):
        RestreamSink(Address("0.0.0.0", 0))


def test_a_taken_port_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(OutputError, match="cannot serve pictures at"):
            RestreamSink(address)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'facestream\[server\]'"):
        RestreamSink(FREE)
