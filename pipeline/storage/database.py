"""One SQLite file: opened, checked and migrated; its errors become one line.

The rollback journal is used, not WAL: a closed gallery is one file that can be copied, mailed or
read from a read-only medium. Writers wait for each other up to ``BUSY_SECONDS``.

The journal holds what a change replaced, faces and names among it. So it stays one file while the
gallery is open (``journal_mode = PERSIST``), which is overwritten and deleted after a removal and
when the gallery is closed (``wipe_journal``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from facestream.engines.files import erase
from facestream.engines.private_files import private
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DatabaseError

from ..core.errors import GalleryCorrupt, GalleryError
from .names import name_key, printable
from .ownership import HEADER, check_files, delete_copies, journal_of

Create = Literal["if_missing", "never"]

# "FSTG" in the file's header tells a gallery from any other SQLite file.
APPLICATION_ID = 0x46535447
# Oldest first; this version writes the last. A test compares them with the scripts.
REVISIONS = ("0001", "0002", "0003", "0004")
BUSY_SECONDS = 10.0
# quick_check reads the whole file, about 1 GB/s: larger galleries are checked as they are read.
CHECKED_BYTES = 256 * 2**20

_MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(path: Path, *, create: Create) -> Engine:
    """An engine on the gallery's file, made or migrated to the current schema where needed.

    Args:
        path: absolute path of the file.
        create: whether a missing file is made.

    Raises:
        GalleryCorrupt: the file is no gallery, or is damaged.
        GalleryError: it is missing, cannot be read or written, or has a newer schema.
    """
    _prepare_file(path, create)
    _roll_back(path)
    engine = _engine(path)
    try:
        with translated(path):
            _check_and_migrate(engine, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that has the write lock from its start, so that it cannot deadlock."""
    connect = engine.connect().execution_options(facestream_write=True)
    with connect as connection, connection.begin():
        yield connection


def wipe_journal(engine: Engine, path: Path) -> None:
    """Overwrite and delete what past changes left in the journal; without one, nothing is done.

    Raises:
        DatabaseError: another process is writing.
        OSError: the journal cannot be overwritten.
    """
    journal = journal_of(path)
    if journal.exists():
        # With the write lock nobody else's change is in the journal: SQLite deletes it then, too.
        with writing(engine), suppress(FileNotFoundError):
            erase(journal)


def _roll_back(path: Path) -> None:
    """Undo what a crash left half done, and overwrite its journal.

    SQLite does the first at the first reading, but deletes the journal as it is: who has it open
    would still read faces and names. A journal that another process is writing is left alone.
    """
    journal = journal_of(path)
    if not journal.exists():
        return
    with suppress(sqlite3.DatabaseError, OSError):
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # else it would be deleted
            connection.execute("BEGIN IMMEDIATE")
            erase(journal)
            connection.execute("ROLLBACK")
        finally:
            connection.close()


_patience: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """In this thread, wait no longer for another process's transaction than this."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises SQLite's errors as ``GalleryError``."""
    try:
        yield
    except DatabaseError as error:
        raise _explained(error, path) from error


# Parts of SQLite's messages, and their meaning for the user.
_CAUSES = {
    ("locked", "busy"): "is in use by another process; try again when that is done",
    ("readonly", "read-only"): "cannot be written: the file or its folder is read-only; "
    "change its permissions or copy it elsewhere",
    ("unable to open",): "cannot be opened; look at the permissions of the file and its folder",
    ("full",): "cannot grow: the disk is full; free some space",
}


def _explained(error: DatabaseError, path: Path) -> GalleryError:
    cause = str(error.orig).lower()
    for words, meaning in _CAUSES.items():
        if any(word in cause for word in words):
            return GalleryError(f"the gallery '{printable(str(path))}' {meaning}")
    return _damaged(path, error.orig)


def _damaged(path: Path, cause: object) -> GalleryCorrupt:
    return GalleryCorrupt(
        f"the gallery '{printable(str(path))}' is damaged ({printable(str(cause))}); "
        "restore a copy, or move it away and enrol again"
    )


def _prepare_file(path: Path, create: Create) -> None:
    shown = printable(str(path))
    try:
        if path.is_dir():
            raise GalleryError(f"'{shown}' is a folder; a gallery is one file")
        if not path.exists():
            if create == "never":
                raise GalleryError(
                    f"there is no gallery at '{shown}'; make one with "
                    "'facestream gallery add NAME PHOTO'"
                )
            if not path.parent.is_dir():
                raise GalleryError(
                    f"the gallery '{shown}' cannot be made: its folder does not exist; "
                    "make the folder first"
                )
            # Faces are private: only the user may read the file. SQLite's journal copies the mode.
            with suppress(FileExistsError):
                os.close(private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        header = _header(path) if path.is_file() else HEADER
        if header == HEADER or (not header and create == "if_missing"):
            check_files(path)  # not of another file, whose mode stays
            header = _header(path)
    except OSError as error:
        raise GalleryError(
            f"the gallery '{shown}' cannot be opened: {error.strerror}; "
            "look at the permissions of the file and its folder"
        ) from error
    if header == b"" and create == "if_missing":
        return  # a new file
    if header != HEADER:
        raise GalleryCorrupt(
            f"'{shown}' is not a facestream gallery (not an SQLite file); "
            "choose another with --gallery"
        )


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(HEADER))


def _engine(path: Path) -> Engine:
    engine = sa.create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        # Transactions are begun below, not by the driver.
        connection.isolation_level = None
        # Removed rows are overwritten: a removed face leaves nothing in the file.
        for pragma in (
            "foreign_keys = ON",
            "secure_delete = ON",
            "synchronous = FULL",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        # Fails where somebody has set WAL, and the gallery cannot be written.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = PERSIST")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        write = connection.get_execution_options().get("facestream_write", False)
        patience = _patience.get()
        seconds = BUSY_SECONDS if patience is None else patience
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * seconds)}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _check_and_migrate(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        found = _identify(connection, path)
        if found is not None and path.stat().st_size <= CHECKED_BYTES:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if verdict != "ok":
                raise _damaged(path, verdict)
    if found == REVISIONS[-1]:
        return
    with writing(engine) as connection:
        # Another process may have been first.
        if _identify(connection, path) != REVISIONS[-1]:
            # Here, because it takes half a second to import and is seldom needed.
            from alembic import command

            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            command.upgrade(alembic_config(connection), REVISIONS[-1])
            delete_copies(path)


def _identify(connection: Connection, path: Path) -> str | None:
    """The schema's revision, or None for an empty file; raises as ``open_database``."""
    query = connection.exec_driver_sql
    tables = set(query("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    application = query("PRAGMA application_id").scalar_one()
    if application == 0 and not tables:
        return None
    shown = printable(str(path))
    if application != APPLICATION_ID or "alembic_version" not in tables:
        raise GalleryCorrupt(
            f"'{shown}' is an SQLite file of another program, not a facestream gallery; "
            "choose another with --gallery"
        )
    revision = str(query("SELECT version_num FROM alembic_version").scalar_one())
    if revision not in REVISIONS:
        raise GalleryError(
            f"the gallery '{shown}' was written by a newer facestream "
            f"(schema {printable(revision)}, this one knows up to {REVISIONS[-1]}); "
            "upgrade facestream"
        )
    return revision


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration for the shipped scripts, on this connection."""
    from alembic.config import Config

    from .schema import Base

    config = Config()
    # ConfigParser would take a % in the folder's name for an interpolation.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = Base.metadata
    config.attributes["name_key"] = name_key
    return config
