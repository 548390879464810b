"""Each source is read once, under a name that no other source of the run has."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
from facestream.pipeline.sources import SourceSpec, distinct_sources, expand_sources

from tests.media import make_clip
from tests.pipeline.sources.test_sources import photo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with ``clips/a.mp4``, ``clips/b.mp4``, and a link to each of the two."""
    monkeypatch.chdir(tmp_path)
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(clips / name, frames=2)
    (tmp_path / "link.mp4").symlink_to(clips / "a.mp4")
    (tmp_path / "films").symlink_to(clips)
    return tmp_path


@pytest.mark.parametrize(
    "again",
    ["clips/a.mp4", "./clips/a.mp4", "clips/../clips/a.mp4", "link.mp4", "films/a.mp4", "film*/a*"],
)
def test_a_file_that_is_given_again_is_read_once_with_one_line(
    folder: Path, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "facestream"):
        found = expand_sources(["clips", again])
    assert [spec.name for spec in found] == ["clips/a.mp4", "clips/b.mp4"]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("is given more than once; it is read once")


def test_a_file_url_and_an_absolute_path_are_the_same_file(folder: Path) -> None:
    path = folder / "clips" / "a.mp4"
    (only,) = expand_sources(["clips/a.mp4", f"file://{path}", str(path)])
    assert only.name == "clips/a.mp4"


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_names_of_paths_that_are_not_utf8_are_text_and_differ(tmp_path: Path) -> None:
    paths = [tmp_path / os.fsdecode(b"caf" + byte + b".mp4") for byte in (b"\xe8", b"\xe9")]
    for path in paths:
        make_clip(path.with_name("clip.mp4"), frames=2).rename(path)
    found = expand_sources(paths)
    assert [spec.location for spec in found] == [str(path) for path in paths]
    name = str(tmp_path / "caf\ufffd.mp4")
    assert [spec.name for spec in found] == [name, f"{name} (2)"]


def test_pictures_that_overlap_are_read_once(tmp_path: Path) -> None:
    for number in range(4):
        photo(tmp_path / f"{number}.png", number)
    (tmp_path / "link.png").symlink_to(tmp_path / "3.png")
    first, rest = expand_sources([tmp_path / "1.png", tmp_path])
    assert [path.name for path in first.files] == ["1.png"]
    assert [path.name for path in rest.files] == ["0.png", "2.png", "3.png"]
    assert len(expand_sources([tmp_path, tmp_path / "1.png", tmp_path / "*.png"])) == 1


def test_a_camera_by_number_and_by_device() -> None:
    assert [spec.name for spec in expand_sources(["0", "/dev/video0", "00"])] == ["camera 0"]


def test_urls_that_differ_in_notation_only() -> None:
    found = expand_sources(
        [
            "rtsp://bob:a%2Fb@cam/main",
            "RTSP://bob:a/b@CAM:554/main",
            "rtsp://bob:a%2Fb@cam/sub",
            "rtsp://bob:a%2Fb@cam:8554/main",
        ]
    )
    assert [spec.name for spec in found] == ["rtsp://cam", "rtsp://cam (2)", "rtsp://cam (3)"]


def test_two_sources_of_one_display_name_get_two_names() -> None:
    urls = [f"http://cam/v?token={secret}" for secret in ("a", "b", "c")]
    found = expand_sources(urls)
    assert [spec.location for spec in found] == urls
    shown = "http://cam"
    assert [spec.name for spec in found] == [shown, f"{shown} (2)", f"{shown} (3)"]


def test_a_name_that_ends_like_ours_is_no_collision() -> None:
    specs = [SourceSpec("url", f"udp://h:{n}", name) for n, name in enumerate(("x", "x (2)", "x"))]
    assert [spec.name for spec in distinct_sources(specs)] == ["x", "x (2)", "x (3)"]


def test_sources_with_names_of_their_own_may_share_a_location(folder: Path) -> None:
    """Two cameras of the settings with the same stream and other rules."""
    clip = "clips/a.mp4"
    door, yard = (SourceSpec("video", clip, name) for name in ("door", "yard"))
    (bare,) = expand_sources([clip])
    assert distinct_sources([door, yard, door]) == [door, yard]
    assert distinct_sources([bare, door, bare]) == [door]


def test_a_reserved_name_is_left_to_its_owner() -> None:
    camera = SourceSpec("url", "rtsp://cam/x", "stdin")
    (pipe,) = expand_sources(["-"])
    found = distinct_sources([pipe, camera], reserved=["stdin"])
    assert [(spec.kind, spec.name) for spec in found] == [("stdin", "stdin (2)"), ("url", "stdin")]


def test_a_pipe_in_a_folder_is_no_source(tmp_path: Path) -> None:
    """Opening it would wait for a writer, without an end."""
    os.mkfifo(tmp_path / "b.mp4")
    (tmp_path / "a.mp4").write_bytes(b"x")
    assert [Path(spec.location).name for spec in expand_sources([tmp_path])] == ["a.mp4"]
