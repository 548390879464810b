"""A watched folder: finished files, once each, over restarts."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.ingest.watched_folder import WatchedFolder


def put(path: Path, *, age: float = 10.0, content: bytes = b"video") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


def look(folder: WatchedFolder) -> list[str]:
    """What is finished now."""
    found = []
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    for spec in folder.files(stopping):
        found.append(spec.name)
    return found


def test_each_file_comes_once_also_after_a_restart(tmp_path: Path) -> None:
    folder, state = tmp_path / "in", tmp_path / "seen.jsonl"
    names = [str(put(folder / name)) for name in ("2.mp4", "10.mp4", "photo.jpg")]
    put(folder / ".hidden.mp4")
    put(folder / "notes.txt")
    put(folder / "empty.mp4", content=b"")
    watched = WatchedFolder(folder, state)
    assert look(watched) == names
    assert look(watched) == []
    for name in names[:2]:
        watched.completed(name)
    # The third one was not read to its end when the program was killed, while it wrote a line.
    with state.open("a") as file:
        file.write('{"file": "/x/')
    assert look(WatchedFolder(folder, state)) == names[2:]


def test_another_recording_under_the_same_name_is_read(tmp_path: Path) -> None:
    path = put(tmp_path / "in" / "last.mp4")
    watched = WatchedFolder(path.parent, tmp_path / "seen.jsonl")
    assert look(watched) == [str(path)]
    put(path, content=b"another video")
    assert look(watched) == [f"{path} (2)"]
    watched.completed(str(path))
    watched.completed(f"{path} (2)")
    assert look(WatchedFolder(path.parent, tmp_path / "seen.jsonl")) == []


def test_names_that_are_not_utf8_are_remembered(tmp_path: Path) -> None:
    folder, state = tmp_path / "in", tmp_path / "seen.jsonl"
    for byte in (b"\xe8", b"\xe9"):
        put(folder / os.fsdecode(byte + b".mp4"))
    watched = WatchedFolder(folder, state)
    names = look(watched)
    assert names == [f"{folder}/\ufffd.mp4", f"{folder}/\ufffd.mp4 (2)"]
    watched.completed(names[1])
    assert look(WatchedFolder(folder, state)) == names[:1]


def test_a_file_that_is_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "in" / "new.mp4"
    put(path, age=0.0)
    watched = WatchedFolder(path.parent, None)
    assert look(watched) == []
    with path.open("ab"):
        os.utime(path, (time.time() - 10,) * 2)
        assert look(watched) == []
    assert look(watched) == [str(path)]


def test_a_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder"):
        WatchedFolder(tmp_path / "none", None)
