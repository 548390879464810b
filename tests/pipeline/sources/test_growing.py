"""Files that are still being written are read to their end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facestream.pipeline.sources import SourceOptions, open_source
from facestream.pipeline.sources.growing import is_written

from tests.media import make_clip

FRAMES = 40
# The end of the container and its options.
KINDS = {
    "clip.ts": {},
    "clip.mkv": {},
    "clip.mp4": {"movflags": "frag_keyframe+empty_moov"},
    "index-at-its-end.mp4": {},
}


def write_slowly(path: Path, content: bytes) -> None:
    """Kept open, as a recorder does."""
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(content), len(content) // 6 + 1):
            file.write(content[at : at + len(content) // 6 + 1])
            time.sleep(0.1)


def append_slowly(path: Path, content: bytes) -> None:
    """Opened for each piece, as a script does."""
    path.touch()
    for at in range(0, len(content), len(content) // 6 + 1):
        with path.open("ab") as file:
            file.write(content[at : at + len(content) // 6 + 1])
        time.sleep(0.1)


def read_while(
    write: Callable[[Path, bytes], None], path: Path, content: bytes, options: SourceOptions
) -> tuple[int, list[str]]:
    writer = threading.Thread(target=write, args=(path, content))
    writer.start()
    try:
        while not path.exists():
            time.sleep(0.005)
        with open_source(path, options) as source:
            return len(list(source)), source.problems
    finally:
        writer.join()


@pytest.mark.parametrize("name", KINDS)
def test_a_file_is_read_until_its_writer_closes_it(tmp_path: Path, name: str) -> None:
    whole = make_clip(tmp_path / name, frames=FRAMES, options=KINDS[name]).read_bytes()
    found = read_while(write_slowly, tmp_path / f"new-{name}", whole, SourceOptions())
    assert found == (FRAMES, [])


@pytest.mark.parametrize("name", ["clip.ts", "clip.mp4"])
def test_a_followed_file_is_read_until_it_stays_as_it_is(tmp_path: Path, name: str) -> None:
    whole = make_clip(tmp_path / name, frames=FRAMES, options=KINDS[name]).read_bytes()
    found = read_while(append_slowly, tmp_path / f"new-{name}", whole, SourceOptions(follow=0.5))
    assert found == (FRAMES, [])


def test_following_ends_when_it_is_stopped(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.ts", frames=FRAMES)
    halt = threading.Event()
    with open_source(path, SourceOptions(follow=60, halt=halt)) as source:
        frames = iter(source)
        next(frames)
        threading.Timer(0.2, halt.set).start()
        assert len(list(frames)) < FRAMES


def test_a_writer_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    with path.open("rb") as reader:
        assert is_written(reader.fileno()) in (False, None)
        with path.open("ab"):
            assert is_written(reader.fileno()) in (True, None)
