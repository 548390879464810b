"""What systems put beside a user's files is passed over, counted, and the same for all commands."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from facestream.pipeline.core.folders import PassedOver, files_below
from facestream.pipeline.core.picture_files import list_pictures
from facestream.pipeline.gallery import plan_import
from facestream.pipeline.gallery.faces import expand_photos
from facestream.pipeline.sources import expand_sources

from tests.pixels import paint

SYSTEM = ("@eaDir", "#recycle", ".thumbnails", "__MACOSX", "@Recycle", "#snapshot")


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    """A person's folder, and at each level what a NAS, macOS and Windows leave there."""
    root = tmp_path / "people"
    paint(root / "Ann" / "one.png")
    for folder in (root, root / "Ann"):
        for name in SYSTEM:
            paint(folder / name / "thumb.png")
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
            (folder / name).write_bytes(b"x")
        paint(folder / "._one.png")
    return root


def test_the_walk(nas: Path) -> None:
    passed = PassedOver()
    assert list(files_below(nas, passed)) == [str(nas / "Ann" / "one.png")]
    line = passed.summary("people")
    assert line is not None
    assert line.startswith("people: 20 hidden or system entries are passed over (")
    assert "hidden files 6" in line
    assert PassedOver().summary("people") is None


def test_sources_and_lists_of_pictures(nas: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="facestream")
    (spec,) = expand_sources([nas])
    assert spec.files == (nas / "Ann" / "one.png",)
    assert list_pictures([nas]) == [str(nas / "Ann" / "one.png")]
    (spec,) = expand_sources([f"{nas}/**/*.png"])
    assert spec.files == (nas / "Ann" / "one.png",)
    assert [record.getMessage().count("passed over") for record in caplog.records] == [1, 1, 1]


def test_what_is_named_is_read(nas: Path) -> None:
    there = nas / "@eaDir"
    assert expand_sources([there])[0].files == (there / "thumb.png",)
    assert expand_sources([f"{there}/*.png"])[0].files == (there / "thumb.png",)
    assert list_pictures([there / "thumb.png"]) == [str(there / "thumb.png")]


def test_people(nas: Path) -> None:
    plan = plan_import(nas)
    assert plan.people == [("Ann", [nas / "Ann" / "one.png"])]
    (note,) = plan.notes
    assert "20 hidden or system entries" in note
    files, notes = expand_photos([nas / "Ann"])
    assert files == [nas / "Ann" / "one.png"]
    assert len(notes) == 1
