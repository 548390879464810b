"""``forget``, ``db key``, ``db retention`` and ``db check --mend``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.core.user_key import ENVIRONMENT, use_key_file
from facestream.pipeline.sightings import Sightings

from tests.pipeline.cli.conftest import Run, mistake
from tests.pipeline.sightings.people import house


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    use_key_file(None)


@pytest.fixture
def seen(tmp_path: Path, clip: Path, portrait: Image, run: Run) -> Path:
    """She was seen before she was enrolled, without a name, and again afterwards, with outputs."""
    db, photo = tmp_path / "db" / "house.db", tmp_path / "collins.png"
    db.parent.mkdir()
    cv2.imwrite(str(photo), portrait)
    assert run("run", clip, "--db", db)[0] == 0
    assert run("gallery", "add", "Eileen", photo, "--db", db)[0] == 0
    assert run("undo", "--db", db)[0] == 0
    assert run("run", clip, "--db", db, "--out", tmp_path / "seen")[0] == 0
    return db


def test_a_person_is_forgotten(seen: Path, tmp_path: Path, run: Run) -> None:
    photo, events = tmp_path / "collins.png", tmp_path / "seen" / "events.jsonl"
    assert len(json.loads(run("search", photo, "--db", seen, "--json")[1])["sightings"]) == 2
    assert "Eileen" in events.read_text()
    status, out, _ = run("forget", "eileen", "--db", seen, "--dry-run", "--json")
    (plan,) = json.loads(out)["plans"]
    assert (status, plan["sightings"], plan["sightings_without_name"]) == (0, 2, 1)
    assert "give --yes" in mistake(run("forget", "Eileen", "--db", seen))
    receipt = tmp_path / "receipt.json"
    status, out, error = run(
        "forget", "Eileen", "--db", seen, "--yes", "--json", "--receipt", receipt,
        "--events", events,
    )  # fmt: skip
    assert (status, error) == (0, "")
    (one,) = json.loads(out)["receipts"]
    assert json.loads(receipt.read_text())["receipts"] == [one]
    assert set(one["proof"].values()) == {"passed"}
    assert one["rows"]["sightings"] == 2
    assert (one["name"], "Eileen" in out) == (None, False)
    assert one["outputs"][str(events)]["pictures"] == 1
    assert "Eileen" not in events.read_text()
    assert json.loads(run("search", photo, "--db", seen, "--json")[1])["sightings"] == []
    assert json.loads(run("who", "--db", seen, "--json")[1])["sightings"] == []
    assert list(seen.parent.rglob("*.jpg")) == []
    assert "nobody called 'Eileen'" in mistake(run("forget", "Eileen", "--db", seen, "--yes"))


def test_sightings_are_forgotten_by_id_and_age(tmp_path: Path, run: Run) -> None:
    db = house(tmp_path)
    with Sightings(db) as sightings:
        one = sightings.page().sightings[0]
    status, out, _ = run("forget", one.id[:10], "--db", db, "--yes")
    assert (status, "sightings 1" in out, "proved" in out) == (0, True, True)
    status, out, _ = run("forget", "--unknown-older-than", "30d", "--db", db, "--yes")
    assert (status, "sightings 1" in out) == (0, True)
    assert "nothing to forget" in run("forget", "--before", "2001-01-01", "--db", db)[1]
    assert "give either" in mistake(run("forget", "--db", db))
    assert "give either" in mistake(run("forget", "Ada", "--before", "1d", "--db", db))
    assert "is no time" in mistake(run("forget", "--before", "soon", "--db", db))


def test_retention(tmp_path: Path, run: Run) -> None:
    db, settings = house(tmp_path), tmp_path / "s.toml"
    assert "storage.retention" in mistake(run("db", "retention", "--db", db))
    settings.write_text('[storage.retention]\nstranger = "7d"\npictures = "30d"\n')
    asked = ("db", "retention", "--db", db, "--config", settings)
    _, out, _ = run(*asked, "--dry-run", "--json")
    assert json.loads(out) == {"expired": {"stranger": 1, "pictures": 2}, "receipt": None}
    assert "stranger 1, 2 pictures" in run(*asked)[1]
    assert json.loads(run(*asked, "--json")[1])["expired"] == {"stranger": 0, "pictures": 0}


def test_mend(tmp_path: Path, run: Run) -> None:
    db = house(tmp_path)
    lost = next(db.parent.rglob("*.jpg")).parent / "lost.jpg"
    lost.write_bytes(b"x")
    os.utime(lost, (1, 1))
    assert run("db", "check", "--db", db)[0] == 3
    status, out, _ = run("db", "check", "--db", db, "--mend")
    assert (status, "nothing wrong" in out, lost.exists()) == (0, True, False)


def test_keys(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    db, file, other = house(tmp_path), tmp_path / "house.key", tmp_path / "next.key"
    settings = tmp_path / "s.toml"
    settings.write_text(f'[storage]\nkey_file = "{file}"\n')
    keyed = ("--db", db, "--config", settings)
    assert "not encrypted" in run("db", "key", "status", "--db", db)[1]
    assert "db key new" in mistake(run("db", "key", "enable", "--db", db))
    for one in (file, other):
        assert run("db", "key", "new", one)[0] == 0
    assert "exists" in mistake(run("db", "key", "new", file))
    assert "Encrypted 18" in run("db", "key", "enable", *keyed)[1]
    use_key_file(None)
    assert "give its key" in mistake(run("who", "--db", db))
    assert "no key is given" in run("db", "key", "status", "--db", db)[1]
    assert run("who", *keyed)[0] == 0
    assert "right one" in run("db", "key", "status", *keyed)[1]
    assert "say what changes" in mistake(run("db", "key", "rotate", *keyed))
    status, out, _ = run("db", "key", "rotate", "--full", "--new", other, *keyed)
    assert (status, "Encrypted 18" in out, "next.key" in out) == (0, True, True)
    assert "another key" in mistake(run("who", *keyed))
    monkeypatch.setenv(ENVIRONMENT, other.read_text())
    status, _, error = run("forget", "Bob", "--yes", *keyed)
    assert (status, "no embedding of the model in use" in error) == (1, True)  # it says so
    assert "Decrypted" in run("db", "key", "disable", *keyed)[1]
    monkeypatch.delenv(ENVIRONMENT)
    use_key_file(None)
    assert run("who", "--db", db)[0] == 0
