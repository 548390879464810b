"""The database of people and sightings: opened, checked and migrated, wherever it is.

What differs between SQLite and PostgreSQL is in ``sqlite.py`` and ``postgresql.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..core.errors import GalleryError
from ..core.location import Location
from .backend import Backend
from .backend import Create as Create
from .names import name_key, printable
from .sqlite import SqliteFile
from .transactions import chunks as chunks
from .transactions import waiting_at_most as waiting_at_most
from .transactions import writing as writing
from .vault import OPTION, Vault

# Oldest first; this version writes the last. A test compares them with the scripts.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")

_MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(location: Location, *, create: Create) -> Engine:
    """An engine on the database, made or migrated to the current schema where needed.

    Args:
        location: an absolute path, or a URL.
        create: whether a missing file is made, or tables in an empty database.

    Raises:
        GalleryCorrupt: it is no database of facestream, or is damaged.
        GalleryError: it is missing, cannot be read or written, or has a newer schema.
    """
    backend = backend_of(location)
    backend.prepare(create)
    engine = backend.engine()
    try:
        with translated(location):
            _check_and_migrate(engine, location, backend, create)
            _unlock(engine, location)
    except BaseException:
        engine.dispose()
        raise
    return engine


def backend_of(location: Location) -> Backend:
    """What is particular to this kind of database."""
    if isinstance(location, Path):
        return SqliteFile(location)
    from .postgresql import PostgresDatabase  # its driver is an extra

    return PostgresDatabase(location)


def _unlock(engine: Engine, location: Location) -> None:
    """Give the engine the keys of its database."""
    vault = Vault(location)
    with engine.connect() as connection:
        vault.refresh(connection)
    engine.update_execution_options(**{OPTION: vault})


def wipe_journal(engine: Engine, location: Location) -> None:
    """Overwrite and delete what past changes left in the journal; without one, nothing is done.

    Raises:
        DatabaseError: another process is writing.
        OSError: the journal cannot be overwritten.
    """
    backend_of(location).wipe(engine)


@contextmanager
def translated(location: Location) -> Iterator[None]:
    """Raises the database's errors as ``GalleryError``."""
    try:
        yield
    except DBAPIError as error:
        raise backend_of(location).explained(error) from error


def _check_and_migrate(
    engine: Engine, location: Location, backend: Backend, create: Create
) -> None:
    with engine.begin() as connection:
        found = _identify(connection, location, backend)
        if found is not None:
            backend.verify(connection)
    if found == REVISIONS[-1]:
        return
    if found is None and create == "never":
        raise backend.missing()
    with writing(engine) as connection:
        # Another process may have been first.
        if _identify(connection, location, backend) != REVISIONS[-1]:
            # Here, because it takes half a second to import and is seldom needed.
            from alembic import command

            with backend.upgrading(connection):
                command.upgrade(alembic_config(connection), REVISIONS[-1])


def _identify(connection: Connection, location: Location, backend: Backend) -> str | None:
    revision = backend.identify(connection)
    if revision is not None and revision not in REVISIONS:
        raise GalleryError(
            f"the gallery '{printable(str(location))}' was written by a newer facestream "
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
