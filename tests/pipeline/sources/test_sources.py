"""From what the user types to sources: paths, folders, patterns, cameras, URLs; pictures."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.events import Moment
from facestream.pipeline.sources import (
    ImagesSource,
    SourceOptions,
    SourceSpec,
    expand_sources,
    open_source,
)
from facestream.pipeline.sources.expand import natural_key
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as Pillow

from tests.media import levels, make_clip, picture


def photo(path: Path, index: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(index, (48, 36)))
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two videos, three pictures, and what is to be left out."""
    folder = tmp_path / "mixed"
    photo(folder / "p10.png", 10)
    photo(folder / "p2.jpg", 2)
    photo(folder / "deeper" / "p1.png", 1)
    (folder / "b.mp4").write_bytes(b"x")
    (folder / "a.MKV").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.mp4").write_bytes(b"x")
    photo(folder / ".thumbnails" / "t.png")
    return folder


def test_folder_gives_each_video_and_its_pictures(mixed: Path) -> None:
    specs = expand_sources([str(mixed)])
    assert [(spec.kind, spec.name) for spec in specs] == [
        ("video", str(mixed / "a.MKV")),
        ("video", str(mixed / "b.mp4")),
        ("images", str(mixed)),
    ]
    assert [path.name for path in specs[2].files] == ["p1.png", "p2.jpg", "p10.png"]


def test_pattern(mixed: Path) -> None:
    specs = expand_sources([str(mixed / "p*")])
    assert [path.name for path in specs[0].files] == ["p2.jpg", "p10.png"]
    assert len(specs) == 1
    deep = expand_sources([str(mixed / "**" / "*.png")])
    assert [path.name for path in deep[0].files] == ["p1.png", "p10.png"]


def test_brackets_in_a_name_that_exists_are_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "clip[1].mp4"
    path.write_bytes(b"x")
    assert [spec.location for spec in expand_sources([path])] == [str(path)]


def test_named_twice_is_read_once(mixed: Path) -> None:
    specs = expand_sources([mixed / "b.mp4", mixed, mixed / "b.mp4"])
    assert [spec.name for spec in specs].count(str(mixed / "b.mp4")) == 1
    assert len(specs) == 3


def test_single_files(mixed: Path) -> None:
    video, image, other = expand_sources([mixed / "b.mp4", mixed / "p2.jpg", mixed / "notes.txt"])
    assert (video.kind, image.kind, other.kind) == ("video", "images", "video")
    assert image.files == (mixed / "p2.jpg",)


def test_the_content_decides_and_animations_are_stills(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(picture(n, (48, 36))) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    photo(tmp_path / "b.png").rename(tmp_path / "b.mp4")
    make_clip(tmp_path / "c.mp4").rename(tmp_path / "c.jpg")
    frames[0].save(tmp_path / "d.dat", "WEBP", save_all=True, append_images=frames[1:])
    for name, kind in (("a.gif", "images"), ("b.mp4", "images"), ("d.dat", "images")):
        (spec,) = expand_sources([tmp_path / name])
        assert spec.kind == kind
        with open_source(spec) as source:
            assert [frame.still for frame in source] == [True]
    specs = expand_sources([tmp_path])  # a folder's files of unknown names are left out
    assert [Path(spec.location).name for spec in specs] == ["c.jpg", tmp_path.name]
    assert [path.name for path in specs[1].files] == ["a.gif", "b.mp4"]


def test_photos_have_the_time_at_which_they_were_taken(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update({36867: "2024:05:06 07:08:09", 36881: "-01:30"})
    Pillow.fromarray(picture(0, (48, 36))).save(tmp_path / "a.jpg", exif=exif)
    photo(tmp_path / "b.jpg")
    (spec,) = expand_sources([tmp_path])
    with open_source(spec) as source:
        one, other = source
    assert one.utc == datetime(2024, 5, 6, 8, 38, 9, tzinfo=UTC).timestamp()
    assert math.isnan(other.utc)
    assert Moment.at(other.pts, other.utc).utc is None


def test_a_photo_that_is_cut_short_is_used_and_listed(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-2])
    (spec,) = expand_sources([path])
    with open_source(spec) as source:
        assert len(list(source)) == 1
    assert source.problems == [f"{path} is cut short; what is there is used"]
    assert source.corrupt == 0


def test_cameras_and_urls() -> None:
    specs = expand_sources(
        ["0", "/dev/video3", "rtsp://me:secret@10.0.0.7/main", "HTTP://x/y.mp4", "-"]
    )
    assert [(spec.kind, spec.name) for spec in specs] == [
        ("camera", "camera 0"),
        ("camera", "/dev/video3"),
        ("url", "rtsp://10.0.0.7"),
        ("url", "http://x"),
        ("stdin", "stdin"),
    ]
    assert specs[0].location == "/dev/video0"
    assert specs[2].location == "rtsp://me:secret@10.0.0.7/main"
    assert "secret" not in repr(specs)


def test_file_url_is_a_path(mixed: Path) -> None:
    assert expand_sources([f"file://{mixed / 'b.mp4'}"])[0].kind == "video"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such.mp4", "there is no file or folder no/such.mp4"),
        ("no/such/*.mp4", "no video or picture matches no/such/"),
        ("", "a source is empty"),
        ("x" * 5000, "cannot read x"),
    ],
)
def test_what_is_not_there(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message.replace("*", ".")) as caught:
        expand_sources([text])
    assert "\n" not in str(caught.value)


def test_folder_with_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SourceError, match="holds no video or picture"):
        expand_sources([tmp_path])


@given(st.lists(st.text(alphabet="a1²0٣/ é9", max_size=8), max_size=8))
def test_natural_order_is_total(names: list[str]) -> None:
    ordered = sorted((Path(name) for name in names), key=natural_key)
    assert sorted(ordered, key=natural_key) == ordered


def test_natural_order() -> None:
    names = ["f10", "f2", "F1", "f002b", "10", "9"]
    assert [str(p) for p in sorted(map(Path, names), key=natural_key)] == [
        "9",
        "10",
        "F1",
        "f2",
        "f002b",
        "f10",
    ]


def test_pictures_are_still_frames(mixed: Path) -> None:
    spec = expand_sources([mixed])[-1]
    with open_source(spec) as source:
        assert isinstance(source, ImagesSource)
        assert source.info.frames == 3
        frames = list(source)
    assert all(frame.still for frame in frames)
    assert [frame.file for frame in frames] == [str(path) for path in source.files]
    assert [frame.index for frame in frames] == [0, 1, 2]
    want = levels(picture(n, (48, 36)) for n in (1, 2, 10))
    assert levels(frame.image for frame in frames) == pytest.approx(want, abs=2)
    assert source.problems == []


def test_unreadable_pictures_are_counted_with_the_reason(mixed: Path) -> None:
    (mixed / "p3.png").write_bytes(b"")
    (mixed / "p4.jpg").write_text("no picture")
    spec = expand_sources([mixed])[-1]
    with open_source(spec) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 4]  # index in spec.files
    assert (source.decoded, source.corrupt, len(source.problems)) == (3, 2, 2)
    assert "p3.png is empty" in source.problems[0]
    assert "p4.jpg" in source.problems[1]


def test_many_unreadable_pictures_are_summed_up(tmp_path: Path) -> None:
    photo(tmp_path / "good.png")
    for n in range(30):
        (tmp_path / f"{n}.png").write_bytes(b"")
    with open_source(tmp_path) as source:
        assert len(list(source)) == 1
    assert source.corrupt == 30
    assert len(source.problems) == 21
    assert source.problems[-1] == "10 more pictures cannot be read"


def test_no_picture_readable(tmp_path: Path) -> None:
    for n in range(2):
        (tmp_path / f"{n}.png").write_text("no picture")
    with open_source(tmp_path) as source, pytest.raises(SourceError, match="none of its 2"):
        list(source)
    with (
        open_source(tmp_path / "1.png") as source,
        pytest.raises(SourceError, match=r"1\.png is not a picture"),
    ):
        list(source)


def test_pictures_stop_and_max_frames(tmp_path: Path) -> None:
    for n in range(5):
        photo(tmp_path / f"{n}.png", n)
    with open_source(tmp_path, SourceOptions(max_frames=2)) as source:
        assert len(list(source)) == 2
    with open_source(tmp_path) as source:
        frames = iter(source)
        next(frames)
        source.stop()
        assert list(frames) == []
        with pytest.raises(RuntimeError, match="iterated already"):
            iter(source)


def test_pictures_need_files() -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(SourceSpec("images", "x", "x"))


def test_open_source_wants_one(mixed: Path) -> None:
    with pytest.raises(SourceError, match="is 3 sources"):
        open_source(mixed)


def test_open_source_takes_text(tmp_path: Path) -> None:
    with open_source(str(make_clip(tmp_path / "clip.mp4", frames=3))) as source:
        assert len(list(source)) == 3


def test_absent_camera_is_one_clear_line() -> None:
    with pytest.raises(SourceError, match="camera 98: there is no /dev/video98"):
        open_source("98")


def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(SourceError, match="cannot open camera 0"):
        open_source(SourceSpec("camera", "/dev/null", "camera 0"))


@pytest.mark.parametrize("name", ["9" * 5000, "a\0b", "a\0*/b"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        expand_sources([name])
    assert "\0" not in str(caught.value)
