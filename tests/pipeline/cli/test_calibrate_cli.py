"""``facestream calibrate``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from facestream.engines.cards import ModelCard
from facestream.pipeline.gallery.store import Store

from tests.pipeline.calibration.conftest import card, enrol, made_up, people_db  # noqa: F401
from tests.pipeline.cli.conftest import Run, mistake


@pytest.fixture
def db(people_db: Path, tmp_path: Path) -> Path:  # noqa: F811
    path = tmp_path / "house.db"
    shutil.copyfile(people_db, path)
    path.chmod(0o600)
    return path


def test_found_applied_shown_and_removed(db: Path, run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    status, out, _ = run("calibrate", "--db", db, "--apply", "--html", page, "--json")
    assert status == 0
    found = json.loads(out)["calibration"]
    assert found["applied"]
    assert "<svg" in page.read_text(encoding="utf-8")
    shown = json.loads(run("calibrate", "--db", db, "--show", "--json")[1])["calibration"]
    assert shown["thresholds"]["similarity"] == found["threshold"]["value"]
    assert "Threshold" in run("calibrate", "--db", db, "--show")[1]
    assert "model's thresholds" in run("calibrate", "--db", db, "--reset")[1]
    assert json.loads(run("calibrate", "--db", db, "--show", "--json")[1])["calibration"] is None


def test_too_little_is_one_line(tmp_path: Path, run: Run, card: ModelCard) -> None:  # noqa: F811
    path = tmp_path / "few.db"
    store = Store(path, create="if_missing")
    for number, mu in enumerate(made_up(4, card.id)):
        enrol(store, f"Person {number}", mu, card.id)
    store.close()
    status, out, error = run("calibrate", "--db", path)
    assert status == 3
    assert "the gallery has 4 people" in out + error


def test_an_own_cohort_needs_strangers(db: Path, run: Run) -> None:
    assert "an own cohort needs 200" in mistake(run("calibrate", "--own-cohort", "--db", db))


def test_flags_that_exclude_each_other(db: Path, run: Run) -> None:
    assert "exclude each other" in mistake(run("calibrate", "--apply", "--reset", "--db", db))
