"""Embeddings and pictures are unreadable without the key, and the key changes while others work."""

from __future__ import annotations

import base64
import hashlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryCorrupt, GalleryError, OutputError, UsageError
from facestream.pipeline.core.user_key import ENVIRONMENT, use_key_file, write_new_key
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.backup import back_up, restore
from facestream.pipeline.sightings.encryption import SEALED, Encryption
from facestream.pipeline.sightings.forget import ForgetRequest, Forgetting
from facestream.pipeline.sightings.maintenance import check_database
from facestream.pipeline.sightings.search import SightingIndex
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.schema import Base
from facestream.pipeline.storage.vault import without_key

from tests.disks import disk_or_skip, fill
from tests.pipeline.sightings.people import MODEL, ROOT, RULE, face, house, killed_at, seen, store
from tests.pixels import PixelReader

pytest.importorskip("cryptography")

KEY, OTHER = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str | None], None]]:
    """The user's key; call it to give another one, or none."""

    def give(text: str | None) -> None:
        monkeypatch.setenv(ENVIRONMENT, text or "")

    give(KEY)
    yield give
    use_key_file(None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return house(tmp_path)


@pytest.fixture
def encrypted(path: Path) -> Path:
    with Sightings(path) as sightings:
        Encryption(sightings).enable()
    return path


def everything(path: Path) -> dict[str, Any]:
    """What a user reads of a database."""
    with Sightings(path) as sightings, Gallery(path, reader=PixelReader(MODEL)) as gallery:
        assert check_database(sightings) == []
        found = SightingIndex(sightings, MODEL, RULE).search(face(1, seed=9), sigma=0.5)
        named = gallery.search(face(1, seed=9)[None], 1)
        pictures = {}
        for one in sightings.page().sightings:
            for kind in ("face", "frame"):
                data = sightings.picture(one.id, kind)
                assert data is not None
                assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
                pictures[one.id, kind] = hashlib.sha256(data).hexdigest()
        return {
            "hits": [(hit.sighting.id, hit.similarity) for hit in found.hits],
            "named": (named.names[0][0], float(named.similarities[0, 0])),
            "crop": gallery.crop(1).tobytes(),
            "templates": [
                None if (mu := sightings.template(one.id)) is None else mu.tobytes()
                for one in sightings.page().sightings
            ],
            "pictures": pictures,
        }


def plaintext(path: Path) -> list[bytes]:
    """Pieces of what is to be unreadable."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT mu FROM sighting_templates UNION ALL SELECT logvar FROM sighting_templates"
    )
    pieces = [bytes(mu[:24]) for (mu,) in rows]
    pieces += [bytes(mu[64:96]) for (mu,) in connection.execute("SELECT mu FROM templates")]
    pieces += [bytes(crop[60:100]) for (crop,) in connection.execute("SELECT crop FROM photos")]
    connection.close()
    files = [one.read_bytes() for one in path.parent.rglob("*.jpg")]
    return pieces + [one[len(one) // 2 :][:32] for one in files] + [b"\xff\xd8\xff\xe0"]


def files_with(path: Path, pieces: list[bytes]) -> list[str]:
    return [
        file.name
        for file in path.parent.rglob("*")
        if file.is_file() and any(piece in file.read_bytes() for piece in pieces)
    ]


def contents(path: Path) -> dict[str, str]:
    return {
        str(one): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in path.parent.rglob("*")
        if one.is_file()
    }


def test_nothing_is_readable_and_all_is_found(path: Path) -> None:
    before, pieces = everything(path), plaintext(path)
    assert len(files_with(path, pieces)) == 11
    with Sightings(path) as early, SightingWriter(early) as writer, Gallery(path) as gallery:
        gallery.refresh()
        with Sightings(path) as sightings:
            assert Encryption(sightings).enable() == 5 + 2 + 1 + 10
            status = Encryption(sightings).status()
        assert (status.state, status.to_do, len(status.data_keys)) == ("on", 0, 1)
        assert status.given_key == status.user_key
        assert files_with(path, pieces) == []
        assert everything(path) == before
        # Who had it open before writes and reads on.
        writer.event(seen(1, seed=30), pace="waits")
        writer.close()
        assert len(SightingIndex(early, MODEL, RULE).search(face(1, seed=9), sigma=0.5).hits) == 4
        assert gallery.crop(2).shape == (112, 112, 3)
    store(path, seen(1, seed=31))
    assert len(everything(path)["hits"]) == 5
    assert {one.suffix for one in path.parent.rglob("*-*.jpg*")} == {".k1"}
    with Sightings(path) as sightings:
        with pytest.raises(UsageError, match="encrypted already"):
            Encryption(sightings).enable()
        plan = Forgetting(sightings, MODEL, RULE).plan(ForgetRequest(person="Ada"))
        assert Forgetting(sightings, MODEL, RULE).carry_out(plan).proved


def test_without_the_right_key_it_is_one_line(
    encrypted: Path, key: Callable[[str | None], None], tmp_path: Path
) -> None:
    before = contents(encrypted)
    for given, said in (
        (None, "is encrypted: give its key"),
        (OTHER, "encrypted by another key"),
        ("house", "no key of 32 bytes"),
    ):
        key(given)
        for opening in (Sightings, Gallery):
            with pytest.raises(GalleryError, match=said) as caught:
                opening(encrypted)
            assert "\n" not in str(caught.value)
    key(None)
    with without_key(), Sightings(encrypted) as sightings:
        status = Encryption(sightings).status()
        assert (status.state, status.given_key) == ("on", None)
        assert len(sightings.page().sightings) == 5
        with pytest.raises(GalleryError, match="encrypted"):
            sightings.template(sightings.page().sightings[0].id)
    assert contents(encrypted) == before
    file = tmp_path / "house.key"
    write_new_key(file)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="never replaced"):
        write_new_key(file)
    file.write_text(bytes([1] * 32).hex() + "\n")
    use_key_file(file)
    assert everything(encrypted)["named"][0] == "Ada"


def test_what_was_exchanged_does_not_open(encrypted: Path) -> None:
    connection = sqlite3.connect(encrypted)
    (mu,) = connection.execute("SELECT mu FROM sighting_templates WHERE id = 1").fetchone()
    connection.execute("UPDATE sighting_templates SET mu = ? WHERE id = 4", (mu,))
    connection.execute(
        "UPDATE photos SET crop = (SELECT crop FROM photos o WHERE o.id = 3 - photos.id)"
    )
    connection.execute("UPDATE sighting_templates SET mu = ? WHERE id = 5", (bytes(32),))
    connection.commit()
    connection.close()
    with Sightings(encrypted) as sightings, Gallery(encrypted) as gallery:
        uids = {one.id for one in sightings.page().sightings}
        said = []
        for uid in uids:
            try:
                sightings.template(uid)
            except GalleryCorrupt as error:
                said.append(str(error))
        assert sorted("not encrypted" in line for line in said) == [False, True]
        assert any("comes from another place" in line for line in said)
        with pytest.raises(GalleryCorrupt, match="another place"):
            gallery.crop(1)
        one, two = (one.pictures["face"] for one in sightings.page().sightings[:2])
        Path(one).write_bytes(Path(two).read_bytes())
        with pytest.raises(GalleryCorrupt):
            sightings.picture(sightings.page().sightings[0].id, "face")


def test_the_users_key_changes_alone(encrypted: Path, key: Callable[[str | None], None]) -> None:
    before, data = everything(encrypted), contents(encrypted)
    with Sightings(encrypted) as running:
        with Sightings(encrypted) as sightings:
            Encryption(sightings).change_user_key(base64.b64decode(OTHER))
        running.write("r", [], {}, {})  # goes on with what is open
        assert running.template(running.page().sightings[0].id) is not None
    with pytest.raises(GalleryError, match="another key"):
        Sightings(encrypted)
    key(OTHER)
    assert everything(encrypted) == before
    changed = [name for name, sha in contents(encrypted).items() if data.get(name) != sha]
    assert changed == [str(encrypted)]


def test_all_is_encrypted_anew_and_decrypted(encrypted: Path) -> None:
    before = everything(encrypted)
    with Sightings(encrypted) as sightings, sightings.reading() as connection:
        old = connection.exec_driver_sql("SELECT mu FROM sighting_templates").scalars().all()
    with Sightings(encrypted) as sightings:
        assert Encryption(sightings).rotate() == 18
        (data_key,) = Encryption(sightings).status().data_keys
        assert (data_key.id, data_key.state) == (2, "active")
    assert everything(encrypted) == before
    assert files_with(encrypted, [one[18:50] for one in old]) == []
    assert {one.suffix for one in encrypted.parent.rglob("*-*.jpg*")} == {".k2"}
    with Sightings(encrypted) as sightings:
        Encryption(sightings).disable()
        assert Encryption(sightings).status().state == "off"
        for change in (Encryption(sightings).rotate, Encryption(sightings).disable):
            with pytest.raises(UsageError, match="not encrypted"):
                change()
    assert everything(encrypted) == before
    assert {one.suffix for one in encrypted.parent.rglob("*-*.jpg*")} == {".jpg"}


def test_another_process_writes_and_reads_while_it_changes(path: Path) -> None:
    code = (
        "import conftest, sys\n"
        "from facestream.pipeline.sightings import Sightings\n"
        "from facestream.pipeline.sightings.search import SightingIndex\n"
        "from facestream.pipeline.sightings.writer import SightingWriter\n"
        "from tests.pipeline.sightings.people import *\n"
        "with Sightings(sys.argv[1]) as sightings:\n"
        "    print('ready', flush=True)\n"
        "    for number in range(3):\n"
        "        with SightingWriter(sightings) as writer:\n"
        "            writer.event(seen(7, seed=100 + number), pace='waits')\n"
        "        index = SightingIndex(sightings, MODEL, RULE)\n"
        "        found = index.search(face(7, seed=9), sigma=0.5)\n"
        "        assert len(found.hits) == number + 1, len(found.hits)\n"
        "        for one in sightings.page().sightings:\n"
        "            assert sightings.picture(one.id, 'face')[:2] == b'\\xff\\xd8'\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with Sightings(path) as sightings:
            encryption = Encryption(sightings)
            encryption.enable()
            changes = 0
            while other.poll() is None and changes < 2:
                encryption.rotate()
                changes += 1
        assert other.wait() == 0
    assert len(everything(path)["pictures"]) == 2 * (5 + 3)
    with Sightings(path) as sightings:
        status = Encryption(sightings).status()
    assert (status.state, status.to_do) == ("on", 0)
    assert files_with(path, [b"\xff\xd8\xff\xe0"]) == []


CHANGE = """
from facestream.pipeline.sightings.encryption import Encryption
NAMES = ("writing", "store", "erase", "next_rows", "note_pictures", "set_state", "scrub")
def work(sightings, moment):
    change = getattr(Encryption(sightings), "%s")
    die_at(moment, NAMES)
    change()
    sys.setprofile(None)
"""


@pytest.mark.parametrize("what", ["enable", "rotate"])
def test_a_killed_change_goes_on(path: Path, what: str) -> None:
    before, pieces = everything(path), plaintext(path)
    if what == "rotate":
        with Sightings(path) as sightings:
            Encryption(sightings).enable()
    unfinished = 0
    for ended, copy in killed_at(CHANGE % what, path, (27, 60)):
        assert ended == -signal.SIGKILL
        assert everything(copy)["hits"] == before["hits"]  # readers go on
        with Sightings(copy) as sightings:
            unfinished += Encryption(sightings).status().state in ("enabling", "rotating")
            try:
                getattr(Encryption(sightings), what)()
            except UsageError:  # it died after the last change
                assert Encryption(sightings).status().state == "on"
        assert everything(copy) == before
        assert files_with(copy, pieces) == []
    assert unfinished


def test_a_full_disk_stops_it_and_nothing_is_lost(tmp_path: Path) -> None:
    with disk_or_skip(tmp_path / "disk", kilobytes=1024) as disk:
        path = house(disk)
        before = everything(path)
        filler = fill(disk)
        with Sightings(path) as sightings:
            with pytest.raises((GalleryError, OutputError), match=r"full|space"):
                Encryption(sightings).enable()
            filler.unlink()
            Encryption(sightings).enable()
        assert everything(path) == before


def test_a_backup_stays_encrypted(
    encrypted: Path, tmp_path: Path, key: Callable[[str | None], None]
) -> None:
    before = everything(encrypted)
    there = tmp_path / "there" / "x.db"
    there.parent.mkdir()
    with Sightings(encrypted) as sightings:
        assert back_up(sightings, tmp_path / "b.tar") == 10
    assert b"\xff\xd8\xff\xe0" not in (tmp_path / "b.tar").read_bytes()
    key(None)
    with pytest.raises(GalleryError, match="give its key"):
        restore(tmp_path / "b.tar", there)
    assert list(there.parent.iterdir()) == []
    key(KEY)
    assert restore(tmp_path / "b.tar", there) == 10
    assert everything(there) == before


def test_it_needs_a_key(path: Path, key: Callable[[str | None], None]) -> None:
    key(None)
    with Sightings(path) as sightings, pytest.raises(UsageError, match="db key new"):
        Encryption(sightings).enable()


def test_every_column_with_embeddings_or_pictures_is_named() -> None:
    """A new table is encrypted, or says here why not."""
    named = {(one.table.name, column) for one in SEALED for column in one.columns}
    plain = {
        ("photos", "box"), ("photos", "landmarks"), ("sightings", "box"),  # where a face was
        ("templates", "person_ids"), ("data_keys", "wrapped"),
    }  # fmt: skip
    binary = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if "BLOB" in str(column.type).upper()
    }
    assert binary - plain == named
