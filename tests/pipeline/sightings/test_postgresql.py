"""What is particular to a PostgreSQL server: errors in one line, its restart, two who open it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.pipeline.core.config import load_settings
from facestream.pipeline.core.config.toml import to_toml
from facestream.pipeline.core.errors import FacestreamError, GalleryError, UsageError
from facestream.pipeline.core.location import DatabaseUrl, locate
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.sightings import Sightings, writer
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.database import REVISIONS, open_database, writing
from facestream.pipeline.storage.transactions import waiting_at_most

from tests.pipeline.sightings.stored import appeared, left
from tests.pixels import PixelReader
from tests.servers.postgresql import PostgresServer, postgresql_server, require_postgresql

SECRET = "s3cr3t"


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    require_postgresql()
    with postgresql_server() as server:
        yield server


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda server: server.url("nowhere"), "does not exist"),
        (lambda server: server.url("postgres", password=SECRET), "refuses the login"),
        (lambda server: server.url("postgres", user="bob", password=SECRET), "refuses the login"),
        (lambda _: f"postgresql://a:{SECRET}@127.0.0.1:1/x", "no server answers"),
        (lambda _: f"postgresql://a:{SECRET}@nowhere.invalid/x", "host is not known"),
        (lambda server: server.url("postgres") + f"?sslmode=require&x={SECRET}", "option"),
        (lambda server: server.url("postgres") + "?sslmode=verify-full", "sslmode"),
        (lambda server: server.url("postgres") + "?sslmode=sometimes", "option"),
        (lambda _: f"mysql://a:{SECRET}@127.0.0.1/x", "no database that can be used"),
        (lambda _: f"postgresql://a:{SECRET}@host:port/x", "cannot be used|no URL"),
        (lambda server: server.new_database(), "no people and no sightings"),
        (lambda server: server.new_database(options="ENCODING 'LATIN1' LOCALE 'C' "
                                            "TEMPLATE template0"), "UTF8"),
    ],
)  # fmt: skip
def test_errors_are_one_line_without_the_password(
    change: object, message: str, postgresql: PostgresServer
) -> None:
    url = change(postgresql)  # type: ignore[operator]
    with pytest.raises(FacestreamError, match=message) as caught:
        Sightings(url)
    for text in (str(caught.value), repr(caught.value.__cause__ or "")):
        assert SECRET not in text
        assert postgresql.password not in text
    assert "\n" not in str(caught.value)


def test_the_setting_is_shown_without_the_password() -> None:
    url = f"postgresql+psycopg://me:{SECRET}@db.example:5433/house?sslmode=verify-full"
    settings = load_settings(environment={"FACESTREAM_STORAGE_DATABASE": url})
    assert isinstance(settings.storage.database, DatabaseUrl)
    assert "sslmode=verify-full" in settings.storage.database.text
    for text in (to_toml(settings), repr(settings), settings.model_dump_json()):
        assert "postgresql://db.example:5433/house" in text
        assert SECRET not in text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgres://u@h/n", "postgresql://h/n"),
        ("postgresql://u:p@ss/w?rd@h:1/n", "postgresql://***"),
        ("postgresql:///n?host=/run", "postgresql:///n"),
        ("postgresql://h", "postgresql://h"),
        ("sqlite:///people.db", "people.db"),
        ("sqlite:////tmp/people.db", "/tmp/people.db"),
        ("people.db", "people.db"),
    ],
)
def test_what_a_location_means(given: str, shown: str) -> None:
    assert str(locate(given)) == shown


def test_a_url_that_became_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match="two slashes"):
        locate(Path(f"postgresql://u:{SECRET}@h/n"))


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError, match=r"pip install 'facestream\[postgres\]'"):
        Sightings("postgresql://h/n")


def test_roles(postgresql: PostgresServer) -> None:
    """Who may only read reads; who may not change tables is told what to do."""
    url = postgresql.new_database()
    name = DatabaseUrl(url).name
    reader = postgresql.url(name, user=f"r{name}", password="r")
    postgresql.execute(f"CREATE ROLE r{name} LOGIN PASSWORD 'r'")
    with pytest.raises(GalleryError, match="GRANT"):
        Sightings(reader, create="if_missing")
    with Sightings(url, create="if_missing") as store, SightingWriter(store) as out:
        out.event(left(), pace="waits")
    postgresql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO r{name}", database=name)
    with Sightings(reader) as store:
        assert store.count() == 1
        with pytest.raises(GalleryError, match="GRANT"):
            SightingWriter(store)


def test_tables_of_another_program_are_left_alone(postgresql: PostgresServer) -> None:
    url = postgresql.new_database()
    postgresql.execute("CREATE TABLE people (x int)", database=DatabaseUrl(url).name)
    with pytest.raises(GalleryError, match="another program"):
        Sightings(url, create="if_missing")


def test_another_writer_is_not_waited_for(postgresql: PostgresServer) -> None:
    url = DatabaseUrl(postgresql.new_database())
    with Gallery(url, reader=PixelReader()) as gallery:
        engine = open_database(url, create="never")
        with writing(engine):
            with waiting_at_most(0.05), pytest.raises(GalleryError, match="in use"):
                gallery.rename("Ada", "Bob")
            with waiting_at_most(0.05):
                assert gallery.people() == []  # readers do not wait
        engine.dispose()


OPENING = """
import runpy, sys
from pathlib import Path
root, url = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
from facestream.pipeline.sightings import Sightings
sys.stdin.readline()
Sightings(url, create="if_missing").close()
"""


def test_two_who_open_an_empty_database_make_its_tables_once(postgresql: PostgresServer) -> None:
    url = postgresql.new_database()
    root = Path(__file__).parents[3]
    opening = [
        subprocess.Popen([sys.executable, "-c", OPENING, root, url], stdin=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in opening:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in opening:
        process.communicate(timeout=60)
    assert [process.returncode for process in opening] == [0, 0]
    engine = open_database(DatabaseUrl(url), create="never")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        assert list(rows) == [REVISIONS[-1]]
    engine.dispose()


def test_a_live_run_goes_on_while_the_server_restarts(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.05, 0.05))
    url = own_server.new_database()
    first = appeared()
    failed = threading.Event()

    class Watched(Sightings):
        def write(self, *args: object, **more: object) -> None:
            try:
                super().write(*args, **more)  # type: ignore[arg-type]
            except GalleryError:
                failed.set()
                raise

    with (
        caplog.at_level(logging.WARNING),
        Gallery(url, reader=PixelReader()) as gallery,
        Watched(url) as store,
        SightingWriter(store) as out,
    ):
        out.event(first, pace="drops")
        searcher = gallery.searcher("pixels-1", None)
        searcher.refresh()
        own_server.kill()
        out.event(left(shade=3), pace="drops")
        assert not searcher.refresh()
        assert failed.wait(30)
        own_server.start()
        out.event(left(first, shade=3), pace="drops")
        assert not searcher.refresh()
    with Sightings(url) as later:
        assert [one.state for one in later.page().sightings] == ["closed", "closed"]
    for line in ("trying again", "stored again", "stays as it was", "can be read again"):
        assert line in caplog.text
    assert own_server.password not in caplog.text
