"""What the database needs of SQLite and of PostgreSQL each; everything else is the same SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..core.errors import GalleryError

Create = Literal["if_missing", "never"]


class Backend(Protocol):
    """One database of one kind."""

    def prepare(self, create: Create) -> None:
        """What is done before it is opened; raises as ``open_database``."""
        ...

    def engine(self) -> Engine:
        """An engine whose transactions read one state, and have the write lock from their start
        where they are those of ``writing``."""
        ...

    def identify(self, connection: Connection) -> str | None:
        """The schema's revision, or None for an empty database; raises as ``open_database``."""
        ...

    def verify(self, connection: Connection) -> None:
        """A quick look whether it is sound; raises GalleryCorrupt."""
        ...

    def missing(self) -> GalleryError:
        """The error for an empty database that is not to be made."""
        ...

    def upgrading(self, connection: Connection) -> AbstractContextManager[None]:
        """Around the migration, in its transaction."""
        ...

    def problems(self, connection: Connection) -> Iterator[str]:
        """A thorough look: what is damaged, a line each."""
        ...

    def counters(self, connection: Connection) -> dict[str, int]:
        """The last id that was given to a row, by table: ids are not used again."""
        ...

    def set_counters(self, connection: Connection, last: Mapping[str, int]) -> None:
        """Go on with the ids after these."""
        ...

    def wipe(self, engine: Engine) -> None:
        """Overwrite what past changes left behind."""
        ...

    def scrub(self, engine: Engine, *, compact: bool) -> None:
        """Overwrite what erased rows left behind.

        ``compact`` writes the database anew, so that free pages go as well that another program
        left: twice its size is needed, and others wait.

        Raises:
            GalleryError: another process is writing for too long, or the disk is full.
            OSError: a file cannot be overwritten.
        """
        ...

    def explained(self, error: DBAPIError) -> GalleryError:
        """The error in one line: what is wrong, with what, and what to do."""
        ...
