"""Whose the gallery's files are: private from the start, and no one else's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from facestream.engines.private_files import allow_group
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.gallery import Gallery

from tests.pixels import PixelReader, paint

STRANGER = 12345

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(("access", "modes"), [("none", (0o600, 0o700)), ("read", (0o640, 0o750))])
def test_modes_whatever_the_umask(
    tmp_path: Path, reader: PixelReader, umask: int, access: str, modes: tuple[int, int]
) -> None:
    photo = paint(tmp_path / "1.png")
    before = os.umask(umask)
    try:
        allow_group("read" if access == "read" else "none")
        with Gallery(tmp_path / "people.db", reader=reader) as gallery:
            gallery.add("Ann", photo)
            gallery.export(tmp_path / "new" / "export")
            beside = [path for path in tmp_path.iterdir() if path.name.startswith("people.db")]
            assert len(beside) == 2
            assert {mode(path) for path in beside} == {modes[0]}
    finally:
        allow_group("none")
        os.umask(before)
    written = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert len(written) == 7
    for path in written:
        assert mode(path) == modes[path.is_dir()], path


def test_the_default_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Gallery().close()
    assert mode(tmp_path / "data" / "facestream") == 0o700
    (tmp_path / "data" / "facestream").chmod(0o755)  # of an older version
    Gallery().close()
    assert mode(tmp_path / "data" / "facestream") == 0o700


def test_ones_own_gallery_is_made_private(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "people.db"
    path.touch(mode=0o600)
    path.chmod(0o666)
    Gallery(path).close()
    Gallery(path).close()
    assert mode(path) == 0o600
    assert [line for line in caplog.messages if "others could change it" in line] == [
        f"'{path}': others could change it (mode 0666): it has mode 0600 now; the setting "
        "storage.group_access lets a group read"
    ]


@root
@pytest.mark.parametrize("content", [b"", None], ids=["empty", "filled"])
def test_a_gallery_of_a_stranger_that_anyone_may_write_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "people.db"
    if content is None:
        Gallery(path).close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    os.chown(path, STRANGER, -1)
    path.chmod(0o666)
    with pytest.raises(GalleryError, match=r"belongs to user 12345.*mode 0666.*chown") as caught:
        Gallery(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@root
def test_a_private_gallery_of_a_stranger_is_used_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """root may look at the gallery of a user."""
    path = tmp_path / "people.db"
    Gallery(path).close()
    os.chown(path, STRANGER, -1)
    for _ in range(2):
        Gallery(path, create="never").close()
    assert sum("belongs to user 12345" in line for line in caplog.messages) == 1


@root
def test_a_link_of_a_stranger_is_refused(tmp_path: Path) -> None:
    Gallery(tmp_path / "people.db").close()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "people.db")
    Gallery(link).close()  # one's own
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    with pytest.raises(GalleryError, match="a symbolic link that belongs to user 12345"):
        Gallery(link)


def _symlink(beside: Path) -> None:
    other = beside.with_name("other")
    other.touch()
    beside.symlink_to(other)


def _hardlink(beside: Path) -> None:
    other = beside.with_name("other")
    other.touch()
    beside.hardlink_to(other)


def _foreign(beside: Path) -> None:
    beside.touch()
    os.chown(beside, STRANGER, -1)


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize(
    "put",
    [_symlink, _hardlink, Path.mkdir, os.mkfifo, pytest.param(_foreign, marks=root)],
    ids=["symlink", "hardlink", "folder", "pipe", "foreign"],
)
def test_what_a_stranger_put_beside_it_is_not_applied(
    tmp_path: Path, put: Callable[[Path], None], suffix: str
) -> None:
    """SQLite writes a journal that it finds into the gallery."""
    path = tmp_path / "people.db"
    Gallery(path).close()
    put(tmp_path / f"people.db{suffix}")
    with pytest.raises(GalleryError, match="beside the gallery would be applied") as caught:
        Gallery(path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_anyone_may_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    Gallery(tmp_path / "people.db").close()
    assert sum("every user may replace files" in line for line in caplog.messages) == 1
    caplog.clear()
    tmp_path.chmod(0o1777)  # as /tmp: others may add, not replace
    Gallery(tmp_path / "other.db").close()
    assert caplog.messages == []


@pytest.mark.parametrize("content", [b"", b"a video"])
def test_the_mode_of_a_file_that_is_no_gallery_stays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    path.chmod(0o644)
    with pytest.raises(GalleryError, match="not a facestream gallery"):
        Gallery(path, create="never")
    assert path.stat().st_mode & 0o777 == 0o644
