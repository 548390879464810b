"""MJPEG over HTTP in all its wrappings, and single pictures that are polled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.sources import SourceOptions, mjpeg, open_source
from facestream.pipeline.sources.mjpeg import CodedPicture, JpegSplitter
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.ingest import loopback
from tests.pipeline.ingest.loopback import Connection, Server, watching

QUICK = SourceOptions(open_timeout=2.0, read_timeout=2.0)
POLLED = loopback.QUICK.model_copy(update={"snapshot_every": 0.02})


def jpeg(shade: int, *, suffix: str = ".jpg") -> bytes:
    """A small picture: noise around a shade."""
    noise = np.random.default_rng(shade).integers(0, 40, (48, 64, 3))
    return cv2.imencode(suffix, (noise + shade).astype(np.uint8))[1].tobytes()


PICTURES = [jpeg(shade) for shade in (10, 60, 110, 160)]


@dataclass(frozen=True)
class Wrapping:
    """How a camera writes its pictures."""

    kind: str = "multipart/x-mixed-replace; boundary=frame"
    boundary: str | None = "--frame"
    first: bool = True  # a boundary before the first picture
    length: int | None = 0  # error of the length that it announces
    typed: bool = True
    eol: str = "\r\n"
    tail: str | None = None
    before: str = ""

    def body(self, pictures: Sequence[bytes]) -> bytes:
        body = self.before.encode()
        for number, picture in enumerate(pictures):
            if self.boundary is not None:
                lines = [self.boundary] if number or self.first else []
                lines += ["Content-Type: image/jpeg"] if self.typed else []
                if self.length is not None:
                    lines.append(f"Content-Length: {len(picture) + self.length}")
                body += "".join(line + self.eol for line in [*lines, ""]).encode()
            body += picture
            if self.boundary is not None:
                body += (self.eol if self.tail is None else self.tail).encode()
        return body


STANDARD = Wrapping()
WRAPPINGS = {
    "standard": STANDARD,
    "no first boundary": replace(STANDARD, first=False),
    "dashes": Wrapping("multipart/x-mixed-replace; boundary=--x", "--x"),
    "four dashes": Wrapping("multipart/x-mixed-replace; boundary=--x", "----x"),
    "quoted": replace(STANDARD, kind='multipart/x-mixed-replace; boundary="frame"'),
    "no length": replace(STANDARD, length=None),
    "LF": replace(STANDARD, eol="\n"),
    "LF without length": replace(STANDARD, eol="\n", length=None),
    "nothing after a picture": replace(STANDARD, tail=""),
    "capitals": replace(STANDARD, kind="Multipart/X-Mixed-Replace;boundary=frame"),
    "no boundary": replace(STANDARD, kind="multipart/x-mixed-replace"),
    "parameters": replace(STANDARD, kind=f"{STANDARD.kind}; charset=utf-8"),
    "wrong length": replace(STANDARD, length=2),
    "pictures alone": Wrapping("image/jpeg", None),
    "bytes": replace(STANDARD, kind="application/octet-stream"),
    "untyped parts": replace(STANDARD, typed=False),
    "preamble": replace(STANDARD, before="\r\n\r\n"),
}


def answer(kind: str, body: bytes = b"") -> bytes:
    head = f"Content-Type: {kind}\r\n" if kind else ""
    return f"HTTP/1.0 200 OK\r\n{head}\r\n".encode() + body


def repeating(head: bytes, body: bytes) -> Callable[[Connection], None]:
    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(head)
        while not connection.closing.wait(0.005):
            connection.send(body)

    return serve


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping_is_live(name: str) -> None:
    wrapping = WRAPPINGS[name]
    serve = repeating(answer(wrapping.kind), wrapping.body(PICTURES))
    with Server(serve) as server, open_source(server.url("video.mjpg"), QUICK) as source:
        assert source.live
        assert (source.info.width, source.info.height) == (64, 48)
        found = [picture.image() for picture in itertools.islice(source.pictures(), 8)]
        means = [round(float(image.mean())) for image in found if image is not None]
        assert means == pytest.approx([30, 80, 130, 180] * 2, abs=3)
        assert source.corrupt == 0


@given(st.sampled_from(sorted(WRAPPINGS)), st.lists(st.integers(1, 3000), max_size=30))
def test_pictures_are_cut_out_wherever_the_network_cuts(name: str, cuts: list[int]) -> None:
    body = WRAPPINGS[name].body(PICTURES)
    splitter, found, at = JpegSplitter(), list[bytes](), 0
    for size in [*cuts, len(body)]:
        found += splitter.feed(body[at : at + size])
        at += size
    assert found == PICTURES
    assert splitter.damaged == 0


def test_a_preview_in_a_picture_is_no_picture_of_its_own() -> None:
    preview = PICTURES[0]
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    whole = PICTURES[1][:2] + segment + PICTURES[1][2:]
    assert JpegSplitter().feed(STANDARD.body([whole, PICTURES[2]])) == [whole, PICTURES[2]]


def test_a_picture_that_is_cut_short_costs_only_itself() -> None:
    wrapping = replace(STANDARD, length=None)
    short = PICTURES[1][: len(PICTURES[1]) // 2]
    splitter = JpegSplitter()
    found = splitter.feed(wrapping.body([PICTURES[0], short, PICTURES[2]]))
    assert found == [PICTURES[0], PICTURES[2]]
    assert splitter.damaged == 1


def test_a_missing_end_is_added_where_the_length_is_right() -> None:
    endless = [picture[:-2] for picture in PICTURES]
    assert JpegSplitter().feed(STANDARD.body(endless)) == PICTURES[:-1]  # the last may go on


def large_jpeg(side: int) -> bytes:
    """A small JPEG whose header says that it is a square of that side."""
    content = PICTURES[0]
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + side.to_bytes(2, "big") * 2 + content[at + 4 :]


@pytest.mark.parametrize("kind", [STANDARD.kind, "image/jpeg"])
def test_a_camera_whose_pictures_are_too_large_is_refused(kind: str) -> None:
    body = STANDARD.body([large_jpeg(65_500)]) if kind == STANDARD.kind else large_jpeg(65_500)
    with (
        Server(repeating(answer(kind), body)) as server,
        pytest.raises(SourceError, match="4290 megapixels, and JPEG files are read up to 100"),
    ):
        open_source(server.url("video"), QUICK)


def test_a_picture_that_is_too_large_among_others_is_left_out() -> None:
    decoder = mjpeg._Decoder(SourceOptions(), "camera")
    assert CodedPicture(large_jpeg(65_500), decoder).image() is None
    assert CodedPicture(large_jpeg(65_500), decoder).sample() == b""
    # FFmpeg also finds a size that is not where headers have it.
    hidden = PICTURES[0][:2] + b"\xff\xc8" + large_jpeg(65_500)[2:]
    assert CodedPicture(hidden, decoder).image() is None
    assert CodedPicture(PICTURES[1], decoder).image() is not None


def test_endless_headers_are_no_work() -> None:
    splitter = JpegSplitter()
    fill = b"\xff\xd8\xff" + b"\xff" * 4_000_000
    assert splitter.feed(fill) == []
    empty = b"\xff\xd8\xff\xe0\0\2" + b"\xff\xe0\0\2" * 2000
    assert splitter.feed(empty + PICTURES[0]) == [PICTURES[0]]
    assert splitter.damaged >= 1


def test_sound_between_pictures_is_passed_over() -> None:
    sound = np.random.default_rng(1).integers(0, 255, 20000, np.uint8).tobytes()
    body = b"".join(picture + sound.replace(b"\xff\xd8", b"") for picture in PICTURES)
    assert JpegSplitter().feed(body) == PICTURES


def test_a_stream_without_pictures_names_its_boundary() -> None:
    body = b"--here\r\nContent-Type: audio/basic\r\n\r\n" + bytes(5_000_000)
    head = answer("multipart/x-mixed-replace; boundary=here")
    with (
        Server(repeating(head, body)) as server,
        pytest.raises(SourceError, match="no JPEG picture after its boundary 'here'") as caught,
    ):
        open_source(server.url("video"), QUICK)
    assert caught.value.retry == "slowly"


def test_a_web_page_is_said_to_be_one() -> None:
    body = b"<html>the camera's own page</html>"
    with (
        Server(repeating(answer("text/html; charset=utf-8"), body)) as server,
        watching(server.url("")) as watched,
    ):
        watched.until_state("retrying")
    (event,) = [event for event in watched.events if event.state == "retrying"]
    assert event.reason is not None
    assert event.reason.startswith("it is a web page (text/html), no video; give the address of")


@pytest.mark.parametrize(
    ("kind", "suffix"), [("image/jpeg", ".jpg"), ("image/png", ".png"), ("", ".jpg")]
)
def test_a_single_picture_is_asked_for_again_and_again(kind: str, suffix: str) -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        content = jpeg(20 * (connection.number % 10), suffix=suffix)
        length = f"\r\nContent-Length: {len(content)}" if connection.number % 2 else ""
        connection.send(answer(kind + length if kind else "image/x-any" + length, content))

    with (
        Server(serve) as server,
        watching(server.url("snap.cgi?channel=1"), live=POLLED) as watched,
    ):
        watched.until(lambda: len(watched.frames) >= 4)
        assert watched.states == ["connecting", "live"]
    means = {round(float(frame.image.mean()) / 20) for frame in watched.frames}
    assert len(means) >= 3
    assert watched.reader.state.restarts == 0


def test_a_camera_that_stops_giving_pictures_is_lost_and_comes_back() -> None:
    def serve(connection: Connection) -> None:
        connection.request()
        if 3 <= connection.number <= 5:
            connection.send(b"HTTP/1.0 503 Busy\r\n\r\n")
        else:
            connection.send(answer("image/jpeg", PICTURES[0]))

    with Server(serve) as server, watching(server.url("snap"), live=POLLED) as watched:
        watched.until(lambda: watched.states.count("live") == 2)
    assert watched.states[:4] == ["connecting", "live", "retrying", "live"]
    assert watched.events[2].reason == "the server answers 503 Service Unavailable"


def test_nothing_stays_open_whatever_the_answer_is() -> None:
    answers = [
        answer("image/jpeg", PICTURES[0]),
        answer("text/html", b"<html>"),
        answer("multipart/x-mixed-replace; boundary=x", b"--x\r\n"),
        b"HTTP/1.0 404 No\r\n\r\n",
        b"HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=a\r\n\r\n",
        b"no HTTP\r\n\r\n",
        b"",
    ]

    def serve(connection: Connection) -> None:
        connection.request()
        connection.send(answers[connection.number % len(answers)])

    with Server(serve) as server:
        before = loopback.open_descriptors()
        for _ in range(21):
            with suppress(SourceError), open_source(server.url("snap"), QUICK) as source:
                next(iter(source.pictures()))
    assert loopback.open_descriptors() <= before
