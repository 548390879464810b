"""What is forgotten is in no row, no search and no file; a crash leaves nothing half done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.pipeline.core.errors import GalleryError, OutputError, PersonNotFound, UsageError
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.records import Embedded, Face, FaceOrigin, PhotoNotes
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.erasing import OF_PEOPLE, OF_SIGHTINGS
from facestream.pipeline.sightings.forget import ForgetRequest, Forgetting, Forgotten, finish
from facestream.pipeline.sightings.maintenance import check_database
from facestream.pipeline.sightings.receipts import is_subject, read_receipts
from facestream.pipeline.sightings.search import SightingIndex
from facestream.pipeline.sightings.traces import PIECE, PieceSearch, Traces
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.sinks.forgetting import forget_in_events, forget_pictures
from facestream.pipeline.storage.schema import Base

from tests.disks import disk_or_skip, fill
from tests.pipeline.sightings.people import (
    MODEL,
    ROOT,
    RULE,
    face,
    house,
    killed_at,
    noise,
    seen,
    store,
)
from tests.pipeline.sightings.stored import appeared, left
from tests.pixels import PixelReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return house(tmp_path)


def forgetting(sightings: Sightings) -> Forgetting:
    return Forgetting(sightings, MODEL, RULE)


def bytes_of(path: Path) -> dict[str, bytes]:
    """What tells that Ada was here."""
    connection = sqlite3.connect(path)
    query = connection.execute
    rows = query(
        "SELECT mu, logvar FROM sighting_templates JOIN sightings s ON s.id = sighting_id "
        "LEFT JOIN people p ON p.id = s.person_id WHERE p.name = 'Ada' OR verdict = 'unsure'"
    ).fetchall()
    (crop,) = query("SELECT crop FROM photos WHERE person_id = 1").fetchone()
    (mu,) = query("SELECT mu FROM templates").fetchone()
    connection.close()
    found = {f"{name} {row}": data[:PIECE] for row, pair in enumerate(rows)
             for name, data in zip(("mu", "logvar"), pair, strict=True)}  # fmt: skip
    slot = mu[64:128]  # of photo 1
    return found | {"photo": crop[60:124], "template": slot[:PIECE], "name": b"Ada"}


def files_with(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    return [
        f"{file.name}: {what}"
        for file in folder.rglob("*")
        if file.is_file()
        for what, data in wanted.items()
        if data in file.read_bytes()
    ]


def test_a_person_is_gone_from_rows_searches_and_files(path: Path) -> None:
    wanted = bytes_of(path)
    assert {line.split(": ")[1] for line in files_with(path.parent, wanted)} == set(wanted)
    with Sightings(path) as sightings:
        index = SightingIndex(sightings, MODEL, RULE)
        assert len(index.search(face(1, seed=9), sigma=0.5).hits) == 3
        pictures = [p for one in sightings.page().sightings for p in one.pictures.values()]
        plan = forgetting(sightings).plan(ForgetRequest(person="ada"))
        assert (len(plan.sightings), plan.resembling, plan.pictures) == (3, 1, 6)
        gone: list[Forgotten] = []
        receipt = forgetting(sightings).carry_out(
            plan,
            outputs=lambda one: gone.append(one) or {},  # type: ignore[func-returns-value]
        )
        assert receipt.proved
        assert receipt.proof == dict.fromkeys(("rows", "search", "database", "pictures"), "passed")
        assert receipt.rows == {
            "sightings": 3, "sighting_templates": 3, "media": 6, "photos": 1, "people": 1,
            "mentions": 1,
        }  # fmt: skip
        assert (receipt.files, receipt.name) == (6, None)
        assert "Ada" not in json.dumps(receipt.to_dict())
        assert is_subject(receipt.subject, "ADA")
        assert not is_subject(receipt.subject, "Bob")
        with sightings.reading() as connection:
            assert [one.id for one in read_receipts(connection)] == [receipt.id]
        assert (len(gone[0].sightings), gone[0].name) == (3, "Ada")
        left_over = sightings.page().sightings
        assert [one.name for one in left_over] == ["Bob", "unknown"]
        assert left_over[0].candidates == {2: 0.4}
        # An index that was open meanwhile knows it, too.
        assert index.search(face(1, seed=9), sigma=0.5).hits == ()
        assert len(index.search(face(2, seed=9), sigma=0.5).hits) == 1
        assert check_database(sightings) == []
        assert sum(Path(one).exists() for one in pictures) == 4
        with pytest.raises(PersonNotFound):
            forgetting(sightings).plan(ForgetRequest(person="Ada"))
    assert files_with(path.parent, wanted) == []


def test_sightings_go_by_id_and_by_time(path: Path) -> None:
    with Sightings(path) as sightings:
        one = sightings.page().sightings[0]
        plan = forgetting(sightings).plan(ForgetRequest(sightings=(one.id[:12],)))
        receipt = forgetting(sightings).carry_out(plan)
        assert (receipt.kind, receipt.proved, receipt.subject) == ("sightings", True, None)
        assert receipt.rows["sightings"] == 1
        month = datetime.now(UTC) - timedelta(days=30)
        plan = forgetting(sightings).plan(ForgetRequest(unknown_before=month))
        assert forgetting(sightings).carry_out(plan).rows["sightings"] == 1
        assert forgetting(sightings).plan(ForgetRequest(before=month)).empty
        week = datetime.now(UTC) - timedelta(days=7)
        plan = forgetting(sightings).plan(ForgetRequest(before=week))
        assert forgetting(sightings).carry_out(plan).rows["sightings"] == 2
        assert sightings.count() == 1
        with pytest.raises(UsageError):
            forgetting(sightings).plan(ForgetRequest(sightings=("nothing",)))
        with pytest.raises(UsageError):
            forgetting(sightings).plan(ForgetRequest())


def test_sightings_with_another_name_stay(path: Path) -> None:
    store(path, seen(1, seed=8, name="Bob", person_id=2, verdict="known"))
    with Sightings(path) as sightings:
        plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
        assert (plan.resembling, plan.others) == (1, 1)
        assert forgetting(sightings).carry_out(plan).proved
        assert [one.name for one in sightings.page().sightings].count("Bob") == 2


def test_the_same_bytes_of_what_stays_are_no_failure(path: Path) -> None:
    """The same video, read twice, has the same embeddings."""
    store(path, seen(5, seed=5, days=1), seen(5, seed=5, days=90))
    with Sightings(path) as sightings:
        month = datetime.now(UTC) - timedelta(days=80)
        plan = forgetting(sightings).plan(ForgetRequest(unknown_before=month))
        receipt = forgetting(sightings).carry_out(plan)
    assert (receipt.rows["sightings"], receipt.proof) == (
        1, dict.fromkeys(("rows", "search", "database", "pictures"), "passed"),
    )  # fmt: skip


def test_bytes_that_another_program_left_are_found_and_overwritten(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE copied AS SELECT * FROM sighting_templates")
    connection.execute("DROP TABLE copied")
    connection.close()
    with Sightings(path) as sightings:
        plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
        assert forgetting(sightings).carry_out(plan).proved


def test_a_failed_proof_is_said(path: Path) -> None:
    copy = path.with_name("house.db.copy")
    copy.write_bytes(path.read_bytes())
    with Sightings(path) as sightings:
        plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
        receipt = forgetting(sightings).carry_out(plan)
    assert not receipt.proved
    assert receipt.proof is not None
    assert "house.db.copy" in receipt.proof["database"]


def test_photos_of_another_model_are_no_proof(path: Path) -> None:
    with Sightings(path) as sightings:
        other = Forgetting(sightings, "another", RULE)
        receipt = other.carry_out(other.plan(ForgetRequest(person="Ada")))
    assert (receipt.proved, receipt.rows["sightings"]) == (False, 2)
    assert receipt.proof is not None
    assert receipt.proof["search"].startswith("not made")


def test_an_open_sighting_does_not_come_back(path: Path) -> None:
    """A run that still shows a forgotten face stores that sighting no more."""
    with Sightings(path) as sightings, SightingWriter(sightings) as writer:
        event = appeared(name="Ada", person_id=1, verdict="known")
        late = left(name="Ada", person_id=1, verdict="known", shade=40)
        writer.event(event, pace="drops")
        for _ in range(200):
            if sightings.count() == 6:
                break
            time.sleep(0.02)
        plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
        assert len(plan.sightings) == 4
        assert forgetting(sightings).carry_out(plan).proved
        writer.event(left(event, shade=30), pace="waits")
        writer.event(late, pace="waits")  # begun before, stored afterwards
        writer.close()
        assert sightings.count() == 2
        assert check_database(sightings) == []


def test_another_process_recognises_nobody(path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from facestream.pipeline.gallery import Gallery\n"
        "from tests.pixels import PixelReader\n"
        "from tests.pipeline.sightings.people import face\n"
        "with Gallery(sys.argv[1], create='never', reader=PixelReader()) as gallery:\n"
        "    for _ in range(2):\n"
        "        gallery.refresh()\n"
        "        found = gallery.search(face(1, seed=9)[None], 1)\n"
        "        print(found.names[0][0], round(float(found.similarities[0, 0]), 1), flush=True)\n"
        "        sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", "import conftest\n" + code, path],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline().startswith("Ada 1.0")
        with Sightings(path) as sightings:
            plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
            assert forgetting(sightings).carry_out(plan).proved
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline().startswith("Bob")
        other.stdin.write("\n")


FORGET_ADA = """
from facestream.pipeline.sightings.forget import Forgetting, ForgetRequest
NAMES = ("erase", "carry_out", "writing", "wipe_journal", "erase_sightings", "finish",
         "erase_person", "scrub", "store_receipt", "drop_notes")
def work(sightings, moment):
    forgetting = Forgetting(sightings, people.MODEL, people.RULE)
    plan = forgetting.plan(ForgetRequest(person="Ada"))
    die_at(moment, NAMES)
    forgetting.carry_out(plan)
    sys.setprofile(None)
"""


def test_a_killed_command_is_finished_by_the_next(path: Path) -> None:
    wanted = bytes_of(path)
    unfinished = 0
    moments = (25, 60, 74)
    for ended, copy in killed_at(FORGET_ADA, path, moments):
        assert ended == -signal.SIGKILL
        with Sightings(copy) as sightings:
            finish(sightings)
            try:
                plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
            except PersonNotFound:  # it died after the last change
                with sightings.reading() as connection:
                    assert read_receipts(connection)[-1].proved
            else:
                receipt = forgetting(sightings).carry_out(plan)
                assert receipt.proved or plan.unfinished is not None
                unfinished += plan.unfinished is not None
            assert check_database(sightings) == []
            assert [one.name for one in sightings.page().sightings] == ["Bob", "unknown"]
        assert files_with(copy.parent, wanted) == []
    assert unfinished


def test_a_read_only_database_is_one_line(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with Sightings(path) as sightings:
            plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
            with pytest.raises(GalleryError, match="read-only"):
                forgetting(sightings).carry_out(plan)
    finally:
        path.parent.chmod(0o700)


def test_a_full_disk_is_one_line_and_nothing_is_half_erased(tmp_path: Path) -> None:
    with disk_or_skip(tmp_path / "disk", kilobytes=1024) as disk:
        path = house(disk)
        filler = fill(disk)
        with Sightings(path) as sightings:
            plan = forgetting(sightings).plan(ForgetRequest(person="Ada"))
            with pytest.raises(GalleryError, match="full"):
                forgetting(sightings).carry_out(plan)
            assert sightings.count() == 5
            filler.unlink()
            assert forgetting(sightings).carry_out(plan).proved


def test_a_picture_that_cannot_be_erased_is_one_line(path: Path) -> None:
    with Sightings(path) as sightings:
        picture = Path(sightings.page().sightings[0].pictures["face"])
        other = path.with_name("another name")
        other.hardlink_to(picture)  # its content would stay there
        plan = forgetting(sightings).plan(ForgetRequest(before=datetime.now(UTC)))
        with pytest.raises(OutputError, match="hard links"):
            forgetting(sightings).carry_out(plan)
        other.unlink()
        assert finish(sightings) > 0
        assert list(sightings.media.files()) == []


def test_outputs_are_rewritten_without_the_person(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    picture = tmp_path / "pictures" / "door-0001-ada.jpg"
    picture.parent.mkdir()
    for name in ("door-0001-ada.jpg", "door-0002-ada-2.jpg", "door-0003-adam.jpg"):
        (picture.parent / name).write_bytes(b"jpeg")
    events: list[dict[str, Any]] = [
        {"sighting": "a", "name": "Ada", "picture": "pictures/door-0001-ada.jpg"},
        {"sighting": "b", "name": "unknown", "picture": "../outside.jpg"},
        {"sighting": "c", "name": "unknown", "candidates": [{"name": "ADA"}, {"name": "Bob"}]},
        {"sighting": "d", "name": "Bob"},
    ]
    (tmp_path.parent / "outside.jpg").write_bytes(b"not ours")
    file.write_text("".join(json.dumps(one) + "\n" for one in events) + "no event\n")
    with file.open("rb") as held:  # as another process may
        done = forget_in_events(file, Forgotten(frozenset({"b"}), "Ada"))
        assert set(held.read()) == {0}
    assert done == {"events": 2, "changed": 1, "pictures": 1}
    lines = file.read_text().splitlines()
    assert json.loads(lines[0]) == {**events[2], "candidates": [{"name": "Bob"}]}
    assert lines[1:] == [json.dumps(events[3]), "no event"]
    assert (tmp_path.parent / "outside.jpg").exists()
    assert forget_pictures(picture.parent, Forgotten(frozenset(), "Ada")) == {"pictures": 1}
    assert [one.name for one in picture.parent.iterdir()] == ["door-0003-adam.jpg"]


def test_pieces_are_found_wherever_they_begin(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pieces = [draw.bytes(PIECE) for _ in range(300)]
    search = PieceSearch(pieces)
    for start in range(9):
        assert search.in_bytes(bytes(start) + pieces[7] + b"xyz") == {pieces[7]}
    assert search.in_bytes(draw.bytes(100_000)) == set()
    file = tmp_path / "large"
    file.write_bytes(bytes((1 << 22) - 5) + pieces[1] + bytes(100))  # across two chunks
    assert search.in_file(file) == {pieces[1]}
    assert search.in_file(tmp_path / "none") == set()
    assert PieceSearch([]).in_bytes(b"x" * 100) == set()
    traces = Traces()
    traces.add_embedding(np.zeros(16, np.float32))
    traces.add_content(b"\xff" * 1000)
    assert traces.pieces() == set()  # they are like much else


def test_every_table_with_a_sighting_or_a_person_is_named() -> None:
    """A new table is erased from, or says here why not."""
    named = {(trace.table.name, trace.column) for trace in (*OF_SIGHTINGS, *OF_PEOPLE)}
    named.add(("photos", "person_id"))  # by `gallery.edits.remove_person`
    pointing = {
        (table.name, key.parent.name)
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name in ("people", "sightings")
    }
    assert pointing <= named


def test_a_gallery_alone_can_forget(tmp_path: Path) -> None:
    path = house(tmp_path)
    with Gallery(path, reader=PixelReader()) as gallery, Sightings(path) as sightings:
        plan = forgetting(sightings).plan(ForgetRequest(person="Bob"))
        assert forgetting(sightings).carry_out(plan).proved
        gallery.refresh()
        assert [person.name for person in gallery.people()] == ["Ada"]


def learn(gallery: Gallery, name: str, uid: str, *, seed: int) -> int:
    """A photo of the gallery that comes from this sighting; returns its id."""
    photo = Face(
        path=f"sighting-{uid}", sha256=f"{seed:064x}", width=112, height=112,
        box=np.zeros(4, np.float32), landmarks=np.zeros((5, 2), np.float32), score=1.0,
        crop=noise(seed, 112, 112), notes=PhotoNotes(origin=FaceOrigin(uid, "door")),
    )  # fmt: skip
    mu = face(7, seed=seed)
    stored = gallery.add_face(name, photo, Embedded(MODEL, mu, np.zeros_like(mu)))
    assert isinstance(stored, int)
    return stored


def test_a_photo_goes_with_the_sighting_it_was_learned_from(path: Path) -> None:
    """By its id; where sightings go by age it stays, as an enrolled photo does."""
    with Sightings(path) as sightings:
        known = {one.name: one for one in sightings.page().sightings}
        with Gallery(path, reader=PixelReader()) as gallery:
            learned = learn(gallery, "Bob", known["Ada"].id, seed=30)
            kept = learn(gallery, "Bob", known["Bob"].id, seed=31)
        wanted = {"mu": face(7, seed=30).tobytes()[:PIECE]}
        assert len(files_with(path.parent, wanted)) == 1
        plan = forgetting(sightings).plan(ForgetRequest(sightings=(known["Ada"].id,)))
        assert plan.learned == 1
        receipt = forgetting(sightings).carry_out(plan)
        assert (receipt.proved, receipt.rows["photos"]) == (True, 1)
        assert files_with(path.parent, wanted) == []
        plan = forgetting(sightings).plan(ForgetRequest(before=datetime.now(UTC)))
        assert "photos" not in forgetting(sightings).carry_out(plan).rows
        with Gallery(path, reader=PixelReader()) as gallery:
            ids = {photo.id for photo in gallery.photos("Bob")}
        assert kept in ids
        assert learned not in ids
