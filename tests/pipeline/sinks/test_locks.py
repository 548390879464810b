"""Two runs do not write one file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.ingest.readers import list_sources
from facestream.pipeline.sinks.locks import OutputLock
from facestream.pipeline.sinks.outputs import OutputRequest, open_outputs

ROOT = Path(__file__).parents[3]
HOLDER = (
    "import sys; sys.path.insert(0, sys.argv[1]); import conftest; from pathlib import Path; "
    "from facestream.pipeline.sinks.locks import OutputLock; lock = OutputLock(Path(sys.argv[2])); "
    "print('held', flush=True); sys.stdin.read()"
)


def test_the_message_names_the_process_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with OutputLock(path):
        expected = rf"^another run \(process {os.getpid()}\) is writing {path}; wait until it ends"
        with pytest.raises(OutputError, match=expected):
            OutputLock(path)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(OutputError, match="is writing"):
            OutputLock(tmp_path / "link")
        OutputLock(tmp_path / "other.jsonl").close()
    (tmp_path / "link").unlink()
    assert list(tmp_path.iterdir()) == []
    OutputLock(path).close()


def test_shared_holders_exclude_exclusive_ones_only(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first, second = OutputLock(path, share="shared"), OutputLock(path, share="shared")
    first.close()
    with pytest.raises(OutputError, match="is writing"):
        OutputLock(path)
    second.close()
    with OutputLock(path), pytest.raises(OutputError, match="is writing"):
        OutputLock(path, share="shared")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_leaves_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ROOT), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=rf"process {process.pid}\)"):
            OutputLock(path)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()), "the file of the lock is left"
    OutputLock(path).close()
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_locked_are_no_errors(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path / "no-folder" / "x"):
        with OutputLock(path), OutputLock(path):
            pass


def request(out: Path) -> OutputRequest:
    return OutputRequest(out=out, video=False)


def test_runs_over_files_into_one_folder_or_file_are_refused(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"x")
    specs = list_sources([str(clip)], Settings()).specs
    out = tmp_path / "seen"
    with open_outputs(request(out), Settings(), specs).locks:
        others = [
            request(out),
            OutputRequest(events=str(out / "events.jsonl")),
            OutputRequest(report=out / "report.json"),
            OutputRequest(out=out, events=str(tmp_path / "e"), report=tmp_path / "r", video=False),
        ]
        for other in others:
            with pytest.raises(OutputError, match="another run"):
                open_outputs(other, Settings(), specs)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".lock"]
    open_outputs(request(out), Settings(), specs).locks.close()


def test_live_runs_append_to_one_file_of_events(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"x")
    events = OutputRequest(events=str(tmp_path / "events.jsonl"))
    live = list_sources(["rtsp://127.0.0.1:9/x"], Settings()).specs
    files = list_sources([str(clip)], Settings()).specs
    with (
        open_outputs(events, Settings(), live).locks,
        open_outputs(events, Settings(), live).locks,
        pytest.raises(OutputError, match="another run"),
    ):
        open_outputs(events, Settings(), files)
