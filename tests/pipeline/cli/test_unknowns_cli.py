"""``unknown``, ``correct``, ``undo``, and past sightings of people who are enrolled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.types import Image

from tests.pipeline.cli.conftest import Run, mistake
from tests.pipeline.cli.test_sightings_cli import photo

__all__ = ["photo"]


@pytest.fixture
def db(tmp_path: Path, clip: Path, run: Run) -> Path:
    """She was seen twice, and nobody is enrolled."""
    path = tmp_path / "house.db"
    for _ in range(2):
        assert run("run", clip, "--db", path)[0] == 0
    return path


def names(db: Path, run: Run) -> list[str]:
    return [one["name"] for one in json.loads(run("who", "--db", db, "--json")[1])["sightings"]]


def listed(db: Path, run: Run, *more: str) -> Any:
    status, out, error = run("unknown", "list", "--db", db, "--json", *more)
    assert (status, error) == (0, "")
    return json.loads(out)["clusters"]


def test_somebody_unknown_gets_a_name_and_loses_it(db: Path, run: Run, clip: Path) -> None:
    (cluster,) = listed(db, run)
    assert (cluster["size"], cluster["ignored"]) == (2, False)
    assert Path(cluster["cameras"][0]).name == "collins.mp4"
    assert Path(cluster["picture"]).is_file()
    assert listed(db, run) == [cluster]
    page = db.with_name("page.html")
    status, out, _ = run("unknown", "list", "--db", db, "--html", page)
    assert "1 unknown person" in out
    assert page.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 1
    shown = json.loads(run("unknown", "show", cluster["id"], "--db", db, "--json")[1])
    assert len(shown["sightings"]) == 2

    status, out, error = run("unknown", "name", cluster["id"], "Eileen", "--db", db)
    assert (status, error) == (0, "")
    assert "Named 2 sightings 'Eileen'" in out
    assert names(db, run) == ["Eileen", "Eileen"]
    assert listed(db, run) == []
    photos = json.loads(run("gallery", "show", "Eileen", "--db", db, "--json")[1])["photos"]
    assert [one["path"].partition("-")[0] for one in photos] == ["sighting"]
    assert run("run", clip, "--db", db)[0] == 0
    assert names(db, run) == ["Eileen"] * 3
    out = run("why", shown["sightings"][0]["id"], "--db", db)[1]
    assert "A human gave the name" in out
    assert "unknown" in out

    assert "named cluster" in run("undo", "--db", db)[1]
    assert names(db, run).count("unknown") == 2  # the run's own decision stays
    assert "undone" in run("undo", "--list", "--db", db)[1]
    assert "nothing to undo" in mistake(run("undo", "--db", db))
    assert "no cluster 99" in mistake(run("unknown", "show", 99, "--db", db))


def test_enrolment_names_past_sightings(db: Path, photo: Path, run: Run, portrait: Image) -> None:
    status, out, _ = run("gallery", "add", "Eileen", photo, "--db", db)
    assert (status, "Named 2 past sightings" in out) == (0, True)
    assert names(db, run) == ["Eileen", "Eileen"]
    assert run("undo", "--db", db)[0] == 0
    assert names(db, run) == ["unknown", "unknown"]
    (cluster,) = listed(db, run)
    assert run("unknown", "ignore", cluster["id"], "--db", db)[0] == 0
    assert listed(db, run) == []
    assert [one["id"] for one in listed(db, run, "--ignored")] == [cluster["id"]]


def test_corrections(db: Path, clip: Path, photo: Path, run: Run) -> None:
    first, second = (
        one["id"] for one in json.loads(run("who", "--db", db, "--json")[1])["sightings"]
    )
    assert "Ada" in run("correct", first, "--is", "Ada", "--db", db)[1]
    assert names(db, run) == ["Ada", "unknown"]
    assert run("gallery", "add", "Eileen", photo, "--db", db)[0] == 0
    assert names(db, run) == ["Ada", "Eileen"]  # a human's decision stays
    out = run("correct", second, "--is-not", "Eileen", "--db", db, "--json")[1]
    corrected = json.loads(out)["sighting"]
    assert (corrected["name"], corrected["verdict"] == "known") == ("unknown", False)
    assert run("run", clip, "--db", db)[0] == 0
    assert names(db, run)[0] == "unknown"  # she looks like the one who is not Eileen
    assert run("correct", second, "--stranger", "--db", db)[0] == 0
    assert run("correct", second, "--ignore", "--db", db)[0] == 0
    found = json.loads(run("why", second, "--db", db, "--json")[1])
    assert (found["sighting"]["verdict"], found["sighting"]["ignored"]) == ("stranger", True)
    kinds = [one["kind"] for one in found["decisions"]]
    assert kinds == ["reidentify", "correct", "correct", "ignore"]
    for _ in range(3):
        assert run("undo", "--db", db)[0] == 0
    assert names(db, run)[1:] == ["Ada", "Eileen"]
    assert run("run", clip, "--db", db)[0] == 0
    assert names(db, run)[0] == "Eileen"  # nothing is held against her any more
    assert "give one of" in mistake(run("correct", second, "--db", db))
