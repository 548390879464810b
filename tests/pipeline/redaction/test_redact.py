"""The whole way: real faces, found, named, covered and checked."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline import Gallery, RedactionChoice, RedactionOptions, redact
from facestream.pipeline.cli.app import main
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.redaction.reading import VideoReader
from PIL import Image as Pillow

from tests.media import make_clip

SIZE = (480, 240)
NAME = "Eileen Collins"


def two_people(index: int, size: tuple[int, int] = SIZE) -> Image:
    """The enrolled one on the left, the other one comes in from the right."""
    wall = np.full((size[1], size[0], 3), 110, np.uint8)
    left, right = (cv2.resize(one.image, (160, 160)) for one in portraits())
    wall[40:200, 20 : 20 + 160] = left
    at = max(260, 480 - 20 * index)
    wall[40:200, at : at + 160] = right[:, : 480 - at]
    return wall


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("redact")
    make_clip(folder / "in.mp4", frames=24, size=SIZE, fps=25, draw=two_people, audio=True)
    with Gallery(folder / "people.db") as gallery:
        assert gallery.add(NAME, portraits()[0].image)[0].accepted
    return folder


def pictures(path: Path) -> list[Image]:
    with VideoReader(path) as reader:
        return [np.asarray(reader.converter.convert(frame)) for frame in reader.frames()]


def changed(before: Image, after: Image) -> tuple[bool, bool]:
    """Whether the face on the left is covered, and that on the right."""
    off = np.abs(before.astype(int) - after).max(axis=2) > 40
    return bool(off[80:150, 60:140].mean() > 0.1), bool(off[80:150, 300:380].mean() > 0.1)


def test_keep_covers_the_other_one_from_the_first_frame_on(place: Path) -> None:
    seen: list[str] = []
    options = RedactionOptions(
        choice=RedactionChoice(keep=frozenset({NAME.lower()})),
        min_face=40,
        on_progress=lambda now: seen.append(now.step),
    )
    report = redact(place / "in.mp4", place / "keep.mp4", options, gallery=place / "people.db")
    assert report.people()[NAME] == {"faces": 1, "covered_frames": 0, "shown_frames": 24}
    assert report.kept == 1
    assert report.verification is not None
    assert report.verification.passed
    assert list(dict.fromkeys(seen)) == ["search", "cover", "verify"]
    for index, (before, after) in enumerate(
        zip(pictures(place / "in.mp4"), pictures(place / "keep.mp4"), strict=True)
    ):
        left, right = changed(before, after)
        assert not left
        if index > 9:  # the face is in the picture
            assert right
    # The cover is there before the face is wholly in the picture.
    other = next(face for face in report.faces if face.name is None)
    assert other.start < 0.35


def test_only_covers_one_and_everybody_is_covered_by_default(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(place / "in.mp4"), "--out", str(place / "only.mp4")]
    flags = ["--gallery", str(place / "people.db"), "--min-face", "40", "--style", "solid"]
    assert main(["redact", *files, "--only", NAME, *flags, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["people"][NAME]["shown_frames"] == 0
    assert report["people"]["unknown"]["covered_frames"] < 24
    before = pictures(place / "in.mp4")[20]
    assert changed(before, pictures(place / "only.mp4")[20]) == (True, False)
    assert main(["redact", *files, "--verify", "0", "--min-face", "40"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main(["redact", *files, "--verify", "0", "--min-face", "40", "--force"]) == 0
    assert "2 faces covered" in " ".join(capsys.readouterr().out.split())
    assert changed(before, pictures(place / "only.mp4")[20]) == (True, True)


def test_a_photo_loses_its_thumbnail_and_place(place: Path) -> None:
    photo, out = place / "group.jpg", place / "covered.jpg"
    exif = Pillow.Exif()
    exif[0x010E] = "Ada at home"
    Pillow.fromarray(two_people(20)[:, :, ::-1].copy()).save(photo, exif=exif, quality=95)
    options = RedactionOptions(choice=RedactionChoice(keep=frozenset({NAME})), min_face=40)
    report = redact(photo, out, options, gallery=place / "people.db")
    assert (report.covered, report.kept) == (1, 1)
    with Pillow.open(out) as written:
        assert not written.getexif()
        assert changed(two_people(20), np.asarray(written)[:, :, ::-1]) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in.mp4", "--out", "in.mp4"], "is the video itself"),
        (["none.mp4", "--out", "x.mp4"], "there is no such file"),
        (["in.mp4", "--out", "x.mp4", "--keep", "Nobody"], "there is nobody called 'Nobody'"),
        (["in.mp4", "--out", "x.mp4", "--keep", NAME, "--only", NAME], "leave --only"),
        (["in.mp4", "--out", "x.mp4", "--margin", "9"], "the margin must be 1 to 4"),
        (["in.mp4", "--out", "none/x.mp4"], "there is no folder"),
        (["people.db", "--out", "x.mp4"], "cannot read"),
    ],
)
def test_mistakes_are_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(place)
    assert main(["redact", *arguments, "--gallery", "people.db"]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
    assert not (place / "x.mp4").exists()
