"""Files that others put in our way are not written, not erased and not trusted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from facestream.engines.files import (
    check_folder,
    erase,
    make_folder,
    own_folder,
    warn_of_shared,
    write_atomically,
)
from facestream.engines.private_files import (
    FileRefused,
    allow_group,
    named,
    private,
    read_bounded,
    read_trusted,
    tighten,
)

STRANGER = 12345
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of the user that nothing may change."""
    path = tmp_path / "mine"
    path.write_bytes(b"mine")
    return path


@pytest.fixture
def group_reads() -> Iterator[None]:
    allow_group("read")
    yield
    allow_group("none")


def _symlink(place: Path) -> None:
    place.symlink_to(place.with_name("mine"))


def _dangling(place: Path) -> None:
    place.symlink_to(place.with_name("nothing"))


def _hardlink(place: Path) -> None:
    place.hardlink_to(place.with_name("mine"))


def _foreign(place: Path) -> None:
    place.write_bytes(b"theirs")
    os.chown(place, STRANGER, -1)
    place.chmod(0o666)


TRAPS = pytest.mark.parametrize(
    ("trap", "why"),
    [
        (_symlink, "symbolic link"),
        (_dangling, "symbolic link"),
        (_hardlink, "hard links"),
        (os.mkfifo, "not a regular file"),
        (Path.mkdir, ""),
        pytest.param(_foreign, "belongs to user 12345", marks=root),
    ],
    ids=["symlink", "dangling", "hardlink", "pipe", "folder", "foreign"],
)


def _append(path: Path) -> None:
    with open(path, "ab", opener=private) as file:
        file.write(b"x")


def _replace(path: Path) -> None:
    with open(path, "wb", opener=private) as file:
        file.write(b"x")


def _update(path: Path) -> None:
    with open(path, "rb+", opener=private) as file:
        file.write(b"x")


@TRAPS
@pytest.mark.parametrize("use", [_append, _replace, _update, erase, read_trusted])
def test_traps(
    tmp_path: Path,
    mine: Path,
    use: Callable[[Path], object],
    trap: Callable[[Path], None],
    why: str,
) -> None:
    place = tmp_path / "place"
    trap(place)
    before = {path.name for path in tmp_path.iterdir()}
    content = place.read_bytes() if place.is_file() else None
    with pytest.raises(OSError) as caught:  # noqa: PT011
        use(place)
    assert why in (caught.value.strerror or "").lower()
    assert mine.read_bytes() == b"mine"
    assert {path.name for path in tmp_path.iterdir()} == before
    assert content is None or place.read_bytes() == content


@TRAPS
def test_an_atomic_write_replaces_the_trap(
    tmp_path: Path, mine: Path, trap: Callable[[Path], None], why: str
) -> None:
    place = tmp_path / "place"
    trap(place)
    if place.is_dir():
        return
    write_atomically(place, b"new")
    assert place.read_bytes() == b"new"
    assert not place.is_symlink()
    assert mode(place) == 0o600
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_new_files_and_folders_are_private(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b")
        _append(tmp_path / "a" / "b" / "c")
        write_atomically(tmp_path / "d" / "e", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == mode(tmp_path / "d") == 0o700
    assert mode(tmp_path / "a" / "b" / "c") == mode(tmp_path / "d" / "e") == 0o600


@pytest.mark.usefixtures("group_reads")
def test_the_group_reads_where_it_may(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(tmp_path / "a")
        _append(tmp_path / "a" / "b")
        write_atomically(tmp_path / "a" / "c", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o750
    assert mode(tmp_path / "a" / "b") == mode(tmp_path / "a" / "c") == 0o640


def test_existing_files_are_made_private_once(
    tmp_path: Path, mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine.chmod(0o664)
    for _ in range(2):
        _append(mine)
        mine.chmod(0o664)
    assert sum("others could change it (mode 0664)" in line for line in caplog.messages) == 1
    tighten(mine)
    assert mode(mine) == 0o600
    _symlink(tmp_path / "link")
    mine.chmod(0o644)
    tighten(tmp_path / "link")
    assert mode(mine) == 0o644


def test_erasing_reaches_who_has_it_open(tmp_path: Path, mine: Path) -> None:
    with mine.open("rb") as held:
        erase(mine)
        assert held.read() == b""
    assert list(tmp_path.iterdir()) == []


def test_erasing_overwrites(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the file's length: the bytes on the disk."""
    mine.write_bytes(b"s" * (2**20 + 5))
    seen = []
    with mine.open("rb") as held:
        monkeypatch.setattr(os, "fsync", lambda _: seen.append(os.pread(held.fileno(), 2**21, 0)))
        erase(mine)
    assert seen == [bytes(2**20 + 5), b""]


def test_ones_own_links_pipes_and_devices_may_be_named(tmp_path: Path, mine: Path) -> None:
    link, chain = tmp_path / "link", tmp_path / "chain"
    link.symlink_to("mine")
    chain.symlink_to(link)
    with open(chain, "ab", opener=named) as file:
        file.write(b"!")
    assert mine.read_bytes() == b"mine!"
    _dangling(tmp_path / "new")
    with open(tmp_path / "new", "ab", opener=named) as file:
        file.write(b"new")
    assert (tmp_path / "nothing").read_bytes() == b"new"
    for device in ("/dev/null", "/dev/stderr", "/dev/fd/2"):
        with open(device, "ab", opener=named):
            pass
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open(pipe, "ab", opener=named, buffering=0) as file:
        file.write(b"line")
    assert os.read(reader, 10) == b"line"
    os.close(reader)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        named(tmp_path / "circle", os.O_WRONLY)


@root
@pytest.mark.parametrize("target", ["mine", "nothing"])
def test_a_strangers_link_may_not_be_named(tmp_path: Path, mine: Path, target: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    with pytest.raises(FileRefused, match="a symbolic link that belongs to user 12345"):
        named(link, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert mine.read_bytes() == b"mine"
    assert not (tmp_path / "nothing").exists()


def test_what_others_may_write_is_not_trusted(mine: Path) -> None:
    assert read_trusted(mine) == b"mine"
    mine.chmod(0o620)
    with pytest.raises(FileRefused, match="others may write it"):
        read_trusted(mine)


def test_reading_has_bounds(tmp_path: Path, mine: Path) -> None:
    assert read_bounded(mine, 4) == b"mine"
    with pytest.raises(OSError, match="larger than 3"):
        read_bounded(mine, 3)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileRefused, match="not a regular file"):
        read_bounded(tmp_path / "pipe", 4)


def test_a_folder_for_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    own_folder(folder)
    assert mode(folder) == 0o700
    assert "others could change it (mode 0777)" in caplog.text
    link = tmp_path / "link"
    link.symlink_to(folder)
    check_folder(link)
    with pytest.raises(FileNotFoundError):
        check_folder(tmp_path / "missing")


@root
def test_a_strangers_folder_is_not_for_code(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    os.chown(folder, STRANGER, -1)
    with pytest.raises(FileRefused, match="it belongs to user 12345"):
        own_folder(folder)


@root
def test_shared_folders_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_shared(tmp_path)
    assert caplog.messages == []
    os.chown(tmp_path, STRANGER, -1)
    for _ in range(2):
        warn_of_shared(tmp_path)
    os.chown(tmp_path, 0, -1)
    (line,) = caplog.messages
    assert "belongs to user 12345, who can replace its files" in line
