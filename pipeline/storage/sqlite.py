"""The database as one SQLite file.

The rollback journal is used, not WAL: a closed gallery is one file that can be copied, mailed or
read from a read-only medium. Writers wait for each other up to ``BUSY_SECONDS``.

The journal holds what a change replaced, faces and names among it. So it stays one file while the
gallery is open (``journal_mode = PERSIST``), which is overwritten and deleted after a removal and
when the gallery is closed (``wipe``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from facestream.engines.files import erase
from facestream.engines.private_files import private
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..core.errors import GalleryCorrupt, GalleryError
from .backend import Create
from .names import printable
from .ownership import HEADER, check_files, delete_copies, journal_of
from .transactions import patience_ms, writes, writing

# "FSTG" in the file's header tells a gallery from any other SQLite file.
APPLICATION_ID = 0x46535447
# quick_check reads the whole file, about 1 GB/s: larger galleries are checked as they are read.
CHECKED_BYTES = 256 * 2**20
# A larger database is compacted by way of a temporary file, not in memory.
_IN_MEMORY = 512 * 2**20

# Parts of SQLite's messages, and their meaning for the user.
_CAUSES = {
    ("locked", "busy"): "is in use by another process; try again when that is done",
    ("readonly", "read-only"): "cannot be written: the file or its folder is read-only; "
    "change its permissions or copy it elsewhere",
    ("unable to open",): "cannot be opened; look at the permissions of the file and its folder",
    ("full",): "cannot grow: the disk is full; free some space",
}


class SqliteFile:
    """A ``Backend``.

    Args:
        path: absolute path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown = printable(str(path))

    def prepare(self, create: Create) -> None:
        _prepare_file(self.path, create)
        _roll_back(self.path)

    def engine(self) -> Engine:
        return _engine(self.path)

    def identify(self, connection: Connection) -> str | None:
        query = connection.exec_driver_sql
        tables = set(query("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
        application = query("PRAGMA application_id").scalar_one()
        if application == 0 and not tables:
            return None
        if application != APPLICATION_ID or "alembic_version" not in tables:
            raise GalleryCorrupt(
                f"'{self._shown}' is an SQLite file of another program, not a facestream gallery; "
                "choose another with --gallery"
            )
        return str(query("SELECT version_num FROM alembic_version").scalar_one())

    def verify(self, connection: Connection) -> None:
        if self.path.stat().st_size <= CHECKED_BYTES:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if verdict != "ok":
                raise self._damaged(verdict)

    def missing(self) -> GalleryError:
        return _no_gallery(self._shown)

    @contextmanager
    def upgrading(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        yield
        delete_copies(self.path)

    def problems(self, connection: Connection) -> Iterator[str]:
        for one in connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all():
            if one != "ok":
                yield str(one)
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
            yield f"a row of {row[0]} has no {row[2]}"

    def counters(self, connection: Connection) -> dict[str, int]:
        rows = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
        return {row[0]: row[1] for row in rows}

    def set_counters(self, connection: Connection, last: Mapping[str, int]) -> None:
        for table, number in last.items():
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, number))

    def wipe(self, engine: Engine) -> None:
        journal = journal_of(self.path)
        if journal.exists():
            # With the write lock nobody else's change is in the journal: SQLite deletes it then,
            # too.
            with writing(engine), suppress(FileNotFoundError):
                erase(journal)

    def scrub(self, engine: Engine, *, compact: bool) -> None:
        # Rows were overwritten as they were deleted (``secure_delete``).
        try:
            with closing(engine.raw_connection()) as raw:
                cursor = raw.cursor()
                if Path(f"{os.path.realpath(self.path)}-wal").exists():
                    with suppress(sqlite3.OperationalError):
                        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                if compact:
                    if self.path.stat().st_size <= _IN_MEMORY:
                        cursor.execute("PRAGMA temp_store = MEMORY")
                    cursor.execute("VACUUM")
        except sqlite3.Error as error:
            raise GalleryError(
                f"the database '{self._shown}' cannot be compacted: {error}"
            ) from error
        self.wipe(engine)

    def explained(self, error: DBAPIError) -> GalleryError:
        cause = str(error.orig).lower()
        for words, meaning in _CAUSES.items():
            if any(word in cause for word in words):
                return GalleryError(f"the gallery '{self._shown}' {meaning}")
        return self._damaged(error.orig)

    def _damaged(self, cause: object) -> GalleryCorrupt:
        return GalleryCorrupt(
            f"the gallery '{self._shown}' is damaged ({printable(str(cause))}); "
            "restore a copy, or move it away and enrol again"
        )


def _no_gallery(shown: str) -> GalleryError:
    return GalleryError(
        f"there is no gallery at '{shown}'; make one with 'facestream gallery add NAME PHOTO'"
    )


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


def _prepare_file(path: Path, create: Create) -> None:
    shown = printable(str(path))
    try:
        if path.is_dir():
            raise GalleryError(f"'{shown}' is a folder; a gallery is one file")
        if not path.exists():
            if create == "never":
                raise _no_gallery(shown)
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
    engine = sa.create_engine(URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: Any) -> None:
        # Transactions are begun below, not by the driver.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {patience_ms()}")
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
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience_ms()}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes(connection) else "BEGIN")

    return engine
