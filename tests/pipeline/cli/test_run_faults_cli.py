"""A run with a camera goes on where clients hold connections, and where the disk is full."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.core.events import Event, Left, OutputStateEvent, parse_event
from facestream.pipeline.core.types import Image
from facestream.pipeline.ingest.watched_folder import WatchedFolder
from facestream.pipeline.sinks.base import Sink

from tests.disks import disk_or_skip, fill
from tests.servers.web import WebServer
from tests.waiting import wait_until

from .conftest import start

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def camera(portrait: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An endless stream in which the portrait comes and goes every other second."""
    face = portrait[:240, 60:380]
    pictures = [face] * 8 + [np.full_like(face, 110)] * 16
    coded = [cv2.imencode(".jpg", image)[1].tobytes() for image in pictures]
    with WebServer(tmp_path_factory.mktemp("web"), pictures=coded, fps=12) as server:
        yield server.url("/mjpeg")


class Watched:
    """A run in a process of its own; what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.process = process
        self.said = ""
        self._lines = process.stderr

    def read_until(self, pattern: str) -> str:
        """The first group of what it says in the end."""
        while (match := re.search(pattern, self.said)) is None:
            line = self._lines.readline()
            assert line, self.said
            self.said += line
        return match[1]

    def wait(self, condition: Callable[[], bool]) -> None:
        for _ in range(6):  # on a busy machine
            try:
                wait_until(lambda: condition() or self.process.poll() is not None)
            except pytest.fail.Exception:
                continue
            break
        assert self.process.poll() is None, self.said + self._lines.read()
        assert condition(), self.said

    def end(self) -> tuple[int, str, str]:
        self.process.terminate()
        out, error = self.process.communicate(timeout=60)
        return self.process.returncode, out, self.said + error


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_idle_clients_take_no_descriptor_from_the_run(
    camera: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("uvicorn")
    monkeypatch.setenv("FACESTREAM_SERVER_HEADER_TIMEOUT", "3")
    monkeypatch.setenv("FACESTREAM_RESTREAM_TOKEN", TOKEN)
    arguments = ("run", camera, "--out", "seen", "--metrics", ":0", "--restream", ":0")
    run = Watched(start(*arguments, cwd=tmp_path, descriptors=160))
    pictures = tmp_path / "seen" / "pictures"
    metrics = run.read_until(r"metrics at (http\S+)")
    page = run.read_until(r"live pictures at (http\S+)")
    run.wait(lambda: len(list(pictures.glob("*.jpg"))) >= 1)
    with ExitStack() as stack:
        for url, count in ((metrics, 160), (page, 200)):
            port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
            for number in range(count):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                if number % 2:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        before = len(list(pictures.glob("*.jpg")))
        run.wait(lambda: len(list(pictures.glob("*.jpg"))) >= before + 1)
        run.wait(lambda: answers(metrics))
        run.wait(lambda: answers(f"{page}?token={TOKEN}"))
    status, _, error = run.end()
    assert status == 130, error
    assert "Too many open files" not in error


def test_a_full_disk_ends_no_camera_and_is_said(camera: str, tmp_path: Path) -> None:
    with disk_or_skip(tmp_path / "disk") as disk:
        fill(disk, but=20_000)
        lines = tmp_path / "events.jsonl"
        report = tmp_path / "report.json"
        files = ("--out", disk / "seen", "--events", lines, "--report", report)
        run = Watched(start("run", camera, *files, cwd=tmp_path))
        run.wait(lambda: lines.is_file() and lines.read_text().count('"left"') >= 3)
        status, out, error = run.end()
        assert status == 1, error
        assert "Traceback" not in error
        assert re.search(r"the output pictures fails \(lost: \d+ pictures?\): cannot write", error)
        assert "Interrupted after" in out
        assert "person 1" in out
        assert list((disk / "seen").rglob("*.part")) == []
    outputs = {one["name"]: one for one in json.loads(report.read_text())["report"]["outputs"]}
    assert set(outputs) == {"pictures", "annotate"}
    assert outputs["pictures"]["degraded"]
    assert outputs["pictures"]["lost"]["picture"] >= 1
    assert outputs["annotate"]["lost"]["frame"] >= 10
    events = [parse_event(line) for line in lines.read_text().splitlines()]
    told = {e.output: e.cause for e in events if isinstance(e, OutputStateEvent)}
    assert told == {"pictures": "disk_full", "annotate": "disk_full"}
    assert any(isinstance(event, Left) and event.picture is None for event in events)


def test_a_watched_file_of_which_something_was_lost_is_read_again(
    camera: str, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, state = tmp_path / "watched", tmp_path / "state.jsonl"
    folder.mkdir()
    shutil.copy(clip, folder / "a.mp4")
    os.utime(folder / "a.mp4", (1e9, 1e9))

    class Failing(Sink):
        ended = False

        def event(self, event: Event) -> None:
            if event.type == "left":
                raise OSError(5, "Input/output error")

        def source_ended(self, source: str) -> None:
            self.ended = True

    sink = Failing()
    watched = WatchedFolder(folder, state)
    with Pipeline([camera], sinks=[sink], watched=watched, frames="searched") as pipeline:
        for _ in pipeline:
            if sink.ended:
                pipeline.stop()
    assert not state.exists()
    assert "a.mp4 is read again by the next run" in caplog.text
