"""``facestream run rtsp://…`` as a user meets it, and streams over UDP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facestream.pipeline import Settings
from facestream.pipeline.core.config import to_toml
from facestream.pipeline.core.events import parse_event

from tests.servers.rtsp import RtspServer

from .endings import CODE, ROOT
from .watcher import HANG, LiveRun

pytestmark = pytest.mark.live


def test_a_stream_over_udp(steady: RtspServer, quick: Settings) -> None:
    settings = quick.with_values({"live.transport": "udp"})
    with LiveRun([("door", steady.url("/walk"))], settings=settings) as run:
        run.seen.wait_frames("door", more=10)
        run.stop()
    assert run.stop_seconds < 2.5


def test_the_program_names_who_is_there_and_never_a_password(
    steady: RtspServer, endless: Path, people: Path, quick: Settings, tmp_path: Path
) -> None:
    config, out = tmp_path / "quick.toml", tmp_path / "out"
    config.write_text(to_toml(quick), encoding="utf-8")
    with RtspServer({"/walk": endless}, user="joe", password="s3cret") as server:
        sources = [
            steady.url("/walk"),
            server.url("/walk", login="joe:s3cret"),
            server.url("/walk", login="jane:wr0ng"),
        ]
        options = ["--gallery", people, "--config", config, "--out", out, "--verbose"]
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "run", *sources, *map(str, options)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _wait_identified(out / "events.jsonl", 2, process)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=HANG)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    assert process.returncode == 130, stderr
    assert "Eileen" in stdout
    report, events = (out / "report.json").read_text(), (out / "events.jsonl").read_text()
    for line in events.splitlines():
        parse_event(line)
    assert {s["name"] for s in json.loads(report)["report"]["sources"] if s["frames"]} == {
        "rtsp://127.0.0.1",
        "rtsp://127.0.0.1 (2)",
    }
    for text in (stdout, stderr, report, events, *(p.name for p in out.rglob("*"))):
        for secret in ("joe", "s3cret", "jane", "wr0ng"):
            assert secret not in text


def _wait_identified(events: Path, sources: int, process: subprocess.Popen[str]) -> None:
    """Wait until somebody was named in so many sources."""
    until = time.monotonic() + 2 * HANG
    while time.monotonic() < until and process.poll() is None:
        lines = events.read_text(encoding="utf-8").splitlines() if events.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        if len({e["source"] for e in found if e["type"] == "identified"}) >= sources:
            return
        time.sleep(0.1)
    pytest.fail(f"nobody was named in {sources} sources; the program ended: {process.poll()}")
