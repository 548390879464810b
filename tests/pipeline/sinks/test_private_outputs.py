"""Faces and names are the user's alone, and are not written through what others put there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.core.errors import OutputError
from facestream.pipeline.core.filenames import lock_of, part_of
from facestream.pipeline.sinks.files import check_writable, make_folder, write_jpeg
from facestream.pipeline.sinks.jsonl import LinesFile
from facestream.pipeline.sinks.locks import OutputLock
from facestream.pipeline.sinks.video.mp4 import Mp4Writer, index_in_front

from tests.pipeline.tracks import picture, read_video, result

STRANGER = 12345
IMAGE = np.zeros((32, 32, 3), np.uint8)
Writer = Callable[[Path], object]

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def write_lines(path: Path) -> None:
    file = LinesFile(path, max_bytes=5)
    file.write(b"{}\n")
    file.write(b"[1]\n")  # into a new file
    file.close()


def write_video(path: Path) -> None:
    writer = Mp4Writer(path, (32, 32))
    writer.draw(result(picture(32, 32)))
    writer.close()
    index_in_front(path)


def write_picture(path: Path) -> None:
    write_jpeg(path, IMAGE)


WRITERS = pytest.mark.parametrize("write", [write_lines, write_video, write_picture])
"""``write_report`` and ``facestream embed`` use the same openers; see the tests of the commands."""


@WRITERS
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_whatever_the_umask(tmp_path: Path, write: Writer, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = make_folder(tmp_path / "new" / "out")
        write(folder / "file.mp4")
    finally:
        os.umask(before)
    places = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {place.stat().st_mode & 0o777 for place in places if place.is_dir()} == {0o700}
    assert {place.stat().st_mode & 0o777 for place in places if place.is_file()} == {0o600}


@pytest.mark.parametrize("write", [write_lines, write_video])
def test_an_earlier_file_is_made_private(
    tmp_path: Path, write: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file.mp4"
    path.touch()
    path.chmod(0o644)
    write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert sum("others could read it (mode 0644)" in line for line in caplog.messages) == 1


@root
@pytest.mark.parametrize("write", [write_lines, write_video, check_writable])
@pytest.mark.parametrize("linked", [True, False], ids=["link", "file"])
def test_a_strangers_file_is_refused(tmp_path: Path, write: Writer, linked: bool) -> None:
    path, mine = tmp_path / "file.mp4", tmp_path / "mine"
    mine.write_bytes(b"mine")
    if linked:
        path.symlink_to(mine)
    else:
        path.touch()
        path.chmod(0o666)
    os.chown(path, STRANGER, -1, follow_symlinks=False)
    with pytest.raises(OutputError, match="belongs to user 12345; remove it") as caught:
        write(path)
    assert "\n" not in str(caught.value)
    assert mine.read_bytes() == b"mine"
    assert not path.stat().st_size or linked


def test_names_of_our_own_are_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture and a finished video are written under another name first."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    path = tmp_path / "file.mp4"
    part_of(path).symlink_to(mine)
    with pytest.raises(OutputError, match="it is a symbolic link"):
        write_picture(path)
    part_of(path).symlink_to(mine)
    write_video(path)
    assert "stays a fragmented MP4: it is a symbolic link" in caplog.text
    assert len(read_video(path)[0]) == 1
    lock_of(path).symlink_to(mine)
    OutputLock(path).close()
    assert mine.read_bytes() == b"mine"
