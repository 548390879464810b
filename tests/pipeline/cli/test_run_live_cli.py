"""``facestream run`` with live sources: a real server on loopback."""

from __future__ import annotations

import json
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline.core.events import Left, SourceStateEvent, parse_event
from prometheus_client.parser import text_string_to_metric_families

from tests.pipeline.tracks import read_video
from tests.servers.web import WebServer

from .conftest import Run, start


@pytest.fixture(scope="module")
def server(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copy(clip, folder / "clip.mp4")
    shutil.copy(clip, folder / "stream")  # no name of a file: live, until it proves to be one
    with WebServer(folder) as server:
        yield server


def test_the_cameras_of_the_settings_run_when_no_source_is_named(
    run: Run, server: WebServer, tmp_path: Path
) -> None:
    config = tmp_path / "cameras.toml"
    config.write_text(
        f'[cameras.door]\nurl = "{server.url("/stream")}"\n'
        f'[cameras.gate]\nurl = "{server.url("/stream")}"\nenabled = false\n'
    )
    out = tmp_path / "seen"
    for _ in range(2):  # the second run appends
        status, text, error = run("run", "--config", config, "--out", out)
        assert status == 0, error
    assert "Live sources" in text
    assert "door" in text
    assert "gate" not in text
    events = [parse_event(line) for line in (out / "events.jsonl").read_text().splitlines()]
    states = [event.state for event in events if isinstance(event, SourceStateEvent)]
    assert states.count("live") == 2
    assert states.count("ended") == 2
    left = [event for event in events if isinstance(event, Left)]
    assert [event.source for event in left] == ["door", "door"]
    assert len({event.picture for event in left}) == 2, "no picture takes the place of another"
    assert all(event.picture and (out / event.picture).is_file() for event in left)
    videos = sorted(out.glob("annotated-door-*.mp4"))
    assert len(videos) == 2
    assert all(1 <= len(read_video(path)[0]) <= 20 for path in videos)
    report = json.loads((out / "report.json").read_text())["report"]
    assert report["sources"][0]["state"] == "ended"
    assert report["frames"] == 20


def test_a_file_on_a_server_is_a_file(run: Run, server: WebServer, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    status, text, error = run("run", server.url("/clip.mp4"), "--out", out)
    assert status == 0, error
    assert "Live sources" not in text
    assert len(read_video(out / "annotated.mp4")[0]) == 20
    events = [parse_event(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert not any(isinstance(event, SourceStateEvent) for event in events)
    report = json.loads((out / "report.json").read_text())["report"]
    (source,) = report["sources"]
    assert (source["frames"], source["expected"], source["state"]) == (20, 20, None)
    assert report["dropped"] == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_absent_camera_is_retried_until_the_run_is_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    # A port that nobody listens at, on loopback: refused at once.
    process = start(
        *("run", "rtsp://user:secret@127.0.0.1:9/live/secret?u=admin&p=secret"),
        *("--out", tmp_path / "seen"),
        *("--metrics", ":0"),
        cwd=tmp_path,
    )
    assert process.stderr is not None
    said = ""
    while "retrying" not in said or "metrics at" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    match = re.search(r"metrics at (http\S+)", said)
    assert match is not None
    with urllib.request.urlopen(match[1], timeout=30) as answer:
        text = answer.read().decode()
    found = {
        sample.labels["state"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "facestream_source_state"
    }
    assert found["retrying"] == 1
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Interrupted after 0 frames" in out
    assert "Live sources" in out
    events = (tmp_path / "seen" / "events.jsonl").read_text()
    files = " ".join(path.name for path in tmp_path.rglob("*"))
    report = (tmp_path / "seen" / "report.json").read_text()
    for output in (said, error, out, events, text, report, files):
        assert "secret" not in output
    states = [json.loads(line)["state"] for line in events.splitlines()]
    assert states[:2] == ["connecting", "retrying"]
    assert states[-1] == "ended"
