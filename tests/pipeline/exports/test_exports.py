"""Exports and the digest of a day, by command and by library."""

from __future__ import annotations

import csv
import email
import email.policy
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from facestream.pipeline.cli import main
from facestream.pipeline.exports.digest import MOST_UNNAMED, digest_of, digest_page
from facestream.pipeline.exports.files import export
from facestream.pipeline.exports.rows import SIGHTING_COLUMNS, presences
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.gallery.directory import create_person
from facestream.pipeline.sightings import SightingFilter, Sightings
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import EPOCH, appeared, left

FORMULA = '=HYPERLINK("http://evil.example";"x")'
START = datetime.fromtimestamp(EPOCH, UTC)
DAY = START.astimezone().date()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ada at 0 and 10 min at the door and at 60 min in the hall, one evil name, three unknown."""
    path = tmp_path_factory.mktemp("exports") / "house.db"
    with Gallery(path, create="if_missing") as gallery:
        ada, evil = (create_person(gallery, name).id for name in ("Ada, the <first>", FORMULA))
    with Sightings(path) as store:
        writer = SightingWriter(store)
        for at, source, person, shade in (
            (0.0, "door", ada, 60),
            (600.0, "door", ada, 90),
            (3600.0, "hall", ada, 120),
            (60.0, "door", evil, 150),
            *((100.0 + 10 * turn, "hall", None, 180) for turn in range(3)),
        ):
            first = appeared(at=at, source=source)
            name = {ada: "Ada, the <first>", evil: FORMULA}.get(person or 0)
            known = {"name": name, "person_id": person, "verdict": "known"} if name else {}
            for event in (first, left(first, seconds=5.0, shade=shade, **known)):  # type: ignore[arg-type]
                writer.event(event, pace="waits")
        writer.close()
    return path


@pytest.fixture
def store(database: Path) -> Iterator[Sightings]:
    with Sightings(database) as opened:
        yield opened


def written(store: Sightings, what: str, kind: str, **wanted: object) -> bytes:
    out = io.BytesIO()
    export(store, what, kind, SightingFilter(**wanted), out)  # type: ignore[arg-type]
    return out.getvalue()


def test_csv_is_rfc_4180_and_no_formula(store: Sightings) -> None:
    data = written(store, "sightings", "csv")
    lines = data.split(b"\r\n")
    assert lines[-1] == b""
    assert b"\n" not in b"".join(lines)
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(rows[0]) == list(SIGHTING_COLUMNS)
    assert len(rows) == store.count() == 7
    names = {row["name"] for row in rows}
    assert names == {"Ada, the <first>", "'" + FORMULA, "unknown"}
    assert datetime.fromisoformat(rows[0]["start"]).tzinfo is not None
    assert "/" not in "".join(row["file"] for row in rows)


def test_presence_joins_short_absences(store: Sightings) -> None:
    found = presences(store, SightingFilter())
    ada = [one for one in found if one.name.startswith("Ada")]
    assert [(one.sightings, sorted(one.sources)) for one in ada] == [(2, ["door"]), (1, ["hall"])]
    assert ada[0].start == START
    assert ada[0].end - ada[0].start == timedelta(seconds=605)
    assert all(one.name != "unknown" for one in found)
    later = presences(store, SightingFilter(since=START + timedelta(minutes=30)))
    assert [one.sightings for one in later] == [1]


def test_parquet_has_types_and_is_the_same(store: Sightings) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(io.BytesIO(written(store, "sightings", "parquet")))
    assert table.column_names == list(SIGHTING_COLUMNS)
    assert str(table.schema.field("start").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("person_id").type) == "int64"
    assert FORMULA in table.column("name").to_pylist()  # no spreadsheet reads it
    empty = written(store, "presence", "parquet", names=("nobody",))
    assert pq.read_table(io.BytesIO(empty)).num_rows == 0


def test_calendars_show_presence(store: Sightings) -> None:
    icalendar = pytest.importorskip("icalendar")
    events = icalendar.Calendar.from_ical(written(store, "presence", "ical")).walk("VEVENT")
    assert str(events[0]["summary"]) == "Ada, the <first>"
    assert events[0].decoded("dtstart") == START
    assert len({str(one["uid"]) for one in events}) == len(events) == 3
    with pytest.raises(Exception, match="a calendar"):
        written(store, "sightings", "ical")


def test_the_digest_of_a_day(store: Sightings) -> None:
    found = digest_of(store, DAY)
    assert [one.name for one in found.people] == ["Ada, the <first>", FORMULA]
    assert (found.people[0].sightings, found.people[0].sources) == (3, ("door", "hall"))
    assert found.unnamed_count == len(found.unnamed) == 3 <= MOST_UNNAMED
    assert found.headline == "2 people, and 3 faces without a name."
    page = digest_page(found, store).decode()
    assert "Ada, the &lt;first&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 5
    assert "http" not in page.replace(FORMULA.replace('"', "&quot;"), "")
    assert digest_of(store, DAY, sources=("hall",)).people[0].sightings == 1
    assert digest_of(store, DAY - timedelta(days=1)).headline == (
        "Nobody known, and 0 faces without a name."
    )


def test_the_commands(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, html, eml = tmp_path / "o.csv", tmp_path / "d.html", tmp_path / "d.eml"
    db = ["--db", str(database)]
    assert main(["export", "presence", "--out", str(out), *db]) == 0
    assert out.read_bytes().startswith(b"name,person_id,start,end,seconds,sources,sightings\r\n")
    assert out.stat().st_mode & 0o777 == 0o600
    assert main(["export", "sightings", "--format", "ical", "--out", str(out), *db]) == 2
    assert out.read_bytes().startswith(b"name,")  # what was there stays
    files = ["--html", str(html), "--eml", str(eml), "--to", "ada@example.org"]
    assert main(["digest", "--day", str(DAY), *files, *db]) == 0
    assert html.read_text().startswith("<!doctype html>")
    mail = email.message_from_bytes(eml.read_bytes(), policy=email.policy.default)
    assert (mail["To"], mail.get_content_type()) == ("ada@example.org", "multipart/alternative")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Ada, the <first>" in body.get_content()
    pictures = [part for part in mail.walk() if part.get_content_type() == "image/jpeg"]
    shown = next(part for part in mail.walk() if part.get_content_type() == "text/html")
    assert len(pictures) == 5
    for part in pictures:
        assert f"cid:{part['Content-ID'][1:-1]}" in shown.get_content()
    for wrong in (["digest", *db], ["digest", "--eml", str(eml), "--to", "a\nBcc: b", *db]):
        assert main(wrong) == 2
    capsys.readouterr()
