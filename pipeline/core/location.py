"""Where a database is: an SQLite file, or a PostgreSQL database by its URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic_core import core_schema

from .errors import UsageError
from .redact import HIDDEN, UrlParts, label

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME = re.compile(r"/[\w.-]{1,63}")


class DatabaseUrl:
    """The URL of a PostgreSQL database.

    ``str`` and ``repr`` show host, port and name, never the login or the options: they are safe to
    show.

    Args:
        text: ``postgresql://[user[:password]@]host[:port]/name[?sslmode=verify-full…]``, as libpq
            takes it; ``postgresql+psycopg://`` is the same.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = f"postgresql://{text.strip().partition('://')[2]}"

    def __str__(self) -> str:
        parts = UrlParts.split(self.text)
        host = label(self.text).partition("://")[2] if parts.host else ""
        port = re.search(r":\d{1,5}$", parts.host)
        name = _NAME.fullmatch(parts.path)
        shown = f"{host}{port[0] if port and host != HIDDEN else ''}"
        return f"postgresql://{shown}{name[0] if name and host != HIDDEN else ''}"

    @property
    def name(self) -> str:
        """Of the database; ``database`` where it cannot be told."""
        name = _NAME.fullmatch(UrlParts.split(self.text).path)
        return name[0][1:].strip(".") or "database" if name else "database"

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls, serialization=core_schema.to_string_ser_schema())


Location = Path | DatabaseUrl


def locate(given: str | Location) -> Location:
    """What a flag or setting means: a file's path, or a URL.

    >>> locate("postgresql://me:secret@db.example:5432/people")
    DatabaseUrl('postgresql://db.example:5432/people')

    Raises:
        UsageError: a URL of another kind. The message does not quote it.
    """
    text = str(given) if isinstance(given, Path) else given
    if isinstance(text, DatabaseUrl):
        return text
    found = _SCHEME.match(text.strip())
    if found is None:
        if text.partition(":/")[0] in _POSTGRESQL:
            raise UsageError("the URL of a database has two slashes: postgresql://host/name")
        return Path(text)
    scheme = found[1].lower()
    if scheme in _POSTGRESQL:
        return DatabaseUrl(text)
    if scheme == "sqlite":
        return Path(text.strip()[found.end() :].removeprefix("/"))
    raise UsageError(
        f"'{label(text)}' is no database that can be used: give a file, or "
        "postgresql://user@host/name"
    )
