"""``facestream serve`` as a process, and its commands for keys, users and the audit log."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cv2
import httpx
import pytest
from facestream.pipeline.cli import main

from tests.faces import walking_face
from tests.pipeline.server.conftest import PASSWORD
from tests.servers.web import WebServer
from tests.waiting import wait_until

_START = "import conftest, sys; from facestream.pipeline.cli import main; sys.exit(main())"
ROOT = Path(__file__).parents[3]


@contextmanager
def running(
    *arguments: str, env: dict[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a served process, once it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", _START, "serve", "--listen", "127.0.0.1:0", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if (found := re.search(r"ready at (\S+)", line)) is not None:
                yield found[1], process
                return
        pytest.fail(said)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(one) for one in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_it_serves_runs_cameras_and_ends_cleanly(tmp_path: Path) -> None:
    pictures = [
        cv2.imencode(".jpg", walking_face(index, (320, 240)))[1].tobytes() for index in range(40)
    ]
    config, told = tmp_path / "house.toml", tmp_path / "notify"
    with (
        WebServer(tmp_path, pictures=pictures) as web,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
    ):
        config.write_text(f'[cameras.door]\nurl = "{web.url("/mjpeg")}"\n', encoding="utf-8")
        notified.bind(str(told))
        notified.settimeout(60)
        arguments = ("--db", str(tmp_path / "house.db"), "--config", str(config))
        with running(*arguments, env={"NOTIFY_SOCKET": str(told)}) as (url, process):
            assert notified.recv(100) == b"READY=1"
            with httpx.Client(base_url=url, timeout=60) as client:
                assert client.get("/readyz").json()["status"] == "ready"
                wait_until(lambda: bool(client.get("/api/v1/sightings").json()["sightings"]))
                [camera] = client.get("/api/v1/cameras").json()["cameras"]
                assert (camera["name"], camera["running"]) == ("door", True)
                wait_until(lambda: client.get("/api/v1/cameras/door/snapshot").status_code == 200)
                assert client.get("/api/v1/cameras/door/snapshot").content[:2] == b"\xff\xd8"
                with client.stream("GET", "/api/v1/cameras/door/live") as live:
                    assert live.headers["content-type"].startswith("multipart/x-mixed-replace")
                    assert next(live.iter_bytes()).startswith(b"--frame")
                [sighting] = client.get("/api/v1/sightings").json()["sightings"][:1]
                why = client.get(f"/api/v1/sightings/{sighting['id']}/why").json()
                assert why["words"]
                assert "facestream_frames_in_total" in client.get("/metrics").text
                stopped = client.post("/api/v1/cameras/door/stop").json()
                assert stopped["running"] is False
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
            assert notified.recv(100) == b"STOPPING=1"
    with sqlite3.connect(tmp_path / "house.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute(
            "SELECT count(*) FROM sightings WHERE state = 'open'"
        ).fetchone() == (0,)


def test_keys_and_users_by_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "house.db"
    status, key, said = run(
        capsys, *("serve", "key", "add", "panel", "--role", "operator"),
        *("--camera", "door", "--expires", "90d", "--db", db),
    )  # fmt: skip
    assert status == 0
    assert re.fullmatch(r"fs_[\w-]{43}\n", key)
    assert "not shown again" in said
    listed = json.loads(run(capsys, "serve", "key", "list", "--json", "--db", db)[1])["keys"]
    assert [(one["name"], one["role"], one["cameras"], one["usable"]) for one in listed] == [
        ("panel", "operator", ["door"], True)
    ]
    assert run(capsys, "serve", "key", "add", "panel", "--db", db)[0] == 2
    assert run(capsys, "serve", "key", "add", "x", "--expires", "soon", "--db", db)[0] == 2
    assert run(capsys, "serve", "key", "revoke", "panel", "--db", db)[0] == 0
    assert "revoked" in run(capsys, "serve", "key", "list", "--db", db)[1]
    assert run(capsys, "serve", "key", "revoke", "nobody", "--db", db)[0] == 2

    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD + "\n"))
    assert run(capsys, "serve", "user", "add", "ada", "--role", "admin", "--db", db)[0] == 0
    assert "ada" in run(capsys, "serve", "user", "list", "--db", db)[1]
    assert PASSWORD.encode() not in db.read_bytes()
    assert run(capsys, "serve", "user", "remove", "ada", "--db", db)[0] == 0

    lines = run(capsys, "serve", "audit", "--db", db)[1].splitlines()
    actions = [json.loads(line)["action"] for line in lines]
    assert actions == [
        *("access.make_key", "access.revoke", "access.make_user", "access.delete_user")
    ]
    assert json.loads(lines[0])["actor"].startswith("shell:")
    assert key.strip() not in "".join(lines)


def test_a_changed_audit_log_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "house.db"
    for name in "abc":
        run(capsys, "serve", "key", "add", name, "--db", db)
    assert run(capsys, "serve", "audit", "--verify", "--db", db)[0] == 0
    with closing(sqlite3.connect(db)) as database:
        for change in ("UPDATE audit SET actor = 'x' WHERE id = 2", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                database.execute(change)
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET actor = 'x' WHERE id = 2")
        database.commit()
        status, _, said = run(capsys, "serve", "audit", "--verify", "--db", db)
        assert (status, "entry 2 was changed" in said) == (3, True)
        database.execute("DROP TRIGGER audit_no_delete")
        database.execute("DELETE FROM audit WHERE id = 2")
        database.commit()
        status, _, said = run(capsys, "serve", "audit", "--verify", "--db", db)
        assert (status, "entry 2 is missing" in said) == (3, True)
        database.execute("DELETE FROM audit WHERE id = 3")
        database.commit()
        status, _, said = run(capsys, "serve", "audit", "--verify", "--db", db)
        assert (status, "not the one noted as 3" in said) == (3, True)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = tmp_path / "house.db"
    for arguments, said in (
        (["--listen", "0.0.0.0:0"], "facestream serve key add"),
        (["--listen", "nonsense"], "--listen"),
        (["--tls-cert", "c.pem"], "--tls-key"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--listen", ":0"], "cannot be used"),
    ):
        status, _, line = run(capsys, "serve", "--db", db, *arguments)
        assert status == 2
        assert said in line
        assert line.count("facestream:") == 1
