"""The database on a PostgreSQL server.

Reading transactions see one state (``REPEATABLE READ``, read only). Writing ones take an advisory
lock first, so that there is one writer at a time, as with SQLite: the gallery's generation and its
log of changes stay exact. They read with ``READ COMMITTED``, because a snapshot would be taken
before the lock is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from ..core.errors import GalleryCorrupt, GalleryError, UsageError
from ..core.location import DatabaseUrl
from .backend import Create
from .names import printable
from .postgresql_errors import explain
from .transactions import impatient, patience_ms, writes

# Of the advisory lock: "facestrm".
LOCK = int.from_bytes(b"facestrm", "big")
CONNECT_SECONDS = 10
# libpq waits at least so long for a server that does not answer.
IMPATIENT_CONNECT_SECONDS = 2
# After a server did not answer, those who cannot wait do not try so long.
PAUSE_SECONDS = 15.0


class PostgresDatabase:
    """A ``Backend``."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self._shown = printable(str(url))

    def prepare(self, create: Create) -> None:
        try:
            import psycopg  # noqa: F401 - an extra
        except ImportError as error:
            raise UsageError(
                f"the database '{self._shown}' needs the driver of PostgreSQL: "
                "pip install 'facestream[postgres]'"
            ) from error

    def engine(self) -> Engine:
        try:
            url = sa.make_url(self.url.text).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                f"'{self._shown}' is no URL of a database: write postgresql://user@host:5432/name, "
                "with %XX for special characters of a password"
            ) from error
        # Options of the URL win.
        defaults = {
            "application_name": "facestream",
            # A server that vanished is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        engine = sa.create_engine(
            url,
            connect_args={key: defaults[key] for key in defaults if key not in url.query},
            pool_pre_ping=True,
            hide_parameters=True,
        )
        _connect_within_patience(engine, given="connect_timeout" in url.query)
        event.listen(engine, "begin", _begun)
        return engine

    def identify(self, connection: Connection) -> str | None:
        from .schema import Base

        query = connection.exec_driver_sql
        encoding = query("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise GalleryError(
                f"the database '{self._shown}' has the encoding {encoding}: names need UTF8; make "
                "it with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )
        found = query("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        tables = set(found.scalars())
        ours = {"alembic_version", *Base.metadata.tables}
        if not tables & ours:
            return None
        if not {"alembic_version", "meta", "people"} <= tables:
            raise GalleryCorrupt(
                f"the database '{self._shown}' has tables of another program "
                f"({', '.join(sorted(tables & ours))}); make one for facestream alone"
            )
        return str(query("SELECT version_num FROM alembic_version").scalar_one())

    def verify(self, connection: Connection) -> None:
        """The server does this itself."""

    def missing(self) -> GalleryError:
        return GalleryError(
            f"the database '{self._shown}' has no people and no sightings; make its tables with "
            "'facestream gallery add NAME PHOTO' or a run"
        )

    @contextmanager
    def upgrading(self, connection: Connection) -> Iterator[None]:
        # Here, because it takes a second to import; the scripts have it, too.
        event.listen(sa.Table, "before_create", _in_order_of_bytes)
        try:
            yield
        finally:
            event.remove(sa.Table, "before_create", _in_order_of_bytes)

    def problems(self, connection: Connection) -> Iterator[str]:
        """Indexes that the server holds for damaged, and tables that cannot be read."""
        from .schema import Base

        broken = connection.exec_driver_sql(
            "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class "
            "ON pg_class.oid = indrelid WHERE NOT indisvalid AND relnamespace = "
            "current_schema()::regnamespace"
        )
        yield from (f"the index {name} is not valid: REINDEX it" for name in broken.scalars())
        for table in Base.metadata.sorted_tables:
            # Compares each row, and so reads all of it.
            columns = ", ".join(column.name for column in table.columns)
            try:
                with connection.begin_nested():
                    connection.exec_driver_sql(
                        f"SELECT sum(hashtext(({columns})::text)) FROM {table.name}"
                    ).scalar_one()
            except DBAPIError as error:
                yield f"the table {table.name} cannot be read: {str(error.orig).splitlines()[0]}"

    def counters(self, connection: Connection) -> dict[str, int]:
        rows = connection.exec_driver_sql(
            "SELECT sequencename, last_value FROM pg_sequences "
            "WHERE schemaname = current_schema() AND last_value IS NOT NULL"
        ).all()
        return {row[0].removesuffix("_id_seq"): row[1] for row in rows}

    def set_counters(self, connection: Connection, last: Mapping[str, int]) -> None:
        for table, number in last.items():
            connection.execute(
                sa.text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)"),
                {"name": table, "last": number},
            )

    def wipe(self, engine: Engine) -> None:
        """What removed rows leave behind is the server's: see docs/sightings.md."""

    def scrub(self, engine: Engine, *, compact: bool) -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM FULL" if compact else "VACUUM")

    def explained(self, error: DBAPIError) -> GalleryError:
        return explain(error, self._shown)


def _begun(connection: Connection) -> None:
    timeout = f"SET LOCAL lock_timeout = {patience_ms()}"
    if writes(connection):
        connection.exec_driver_sql(f"{timeout}; SELECT pg_advisory_xact_lock({LOCK})")
    else:
        connection.exec_driver_sql(
            f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {timeout}"
        )


def _connect_within_patience(engine: Engine, *, given: bool) -> None:
    """Connecting takes no longer than the thread may wait, see ``waiting_at_most``."""
    silent_since: list[float] = []

    @event.listens_for(engine, "do_connect")
    def _connecting(dialect: Any, _record: Any, arguments: Any, options: dict[str, Any]) -> Any:
        patient = not impatient()
        now = time.monotonic()
        if not patient and silent_since and now - silent_since[-1] < PAUSE_SECONDS:
            raise dialect.dbapi.OperationalError("connection timeout expired")
        if not given:
            options["connect_timeout"] = CONNECT_SECONDS if patient else IMPATIENT_CONNECT_SECONDS
        try:
            connection = dialect.connect(*arguments, **options)
        except Exception:
            if time.monotonic() - now > 1:
                silent_since[:] = [time.monotonic()]
            raise
        silent_since.clear()
        return connection


def _in_order_of_bytes(table: sa.Table, _connection: Connection, **_: Any) -> None:
    """Texts are compared byte by byte, as in SQLite: ranges of keys and times need that."""
    for column in table.columns:
        if isinstance(column.type, sa.String) and column.type.collation is None:
            column.type = type(column.type)(length=column.type.length, collation="C")
