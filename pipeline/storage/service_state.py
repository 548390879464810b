"""What the service keeps over a restart: JSON by key, sealed in an encrypted database."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from .schema import Base
from .vault import vault_of


class ServiceStateRow(Base):
    """A camera (``camera/NAME``) with its URL and login, or the changed settings (``settings``)."""

    __tablename__ = "service_state"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


def place_of_state(key: str) -> tuple[object, ...]:
    """What the content is sealed with."""
    return ("service_state", key)


def read_state(connection: Connection, prefix: str) -> dict[str, Any]:
    """What is kept under keys that begin so, by the whole key.

    Raises:
        GalleryError: it was changed, or the key of the database is missing.
    """
    begins = ServiceStateRow.key.startswith(prefix, autoescape=True)
    rows = connection.execute(sa.select(ServiceStateRow.__table__).where(begins))
    vault = vault_of(connection)
    return {
        row.key: json.loads(vault.open(connection, row.content, *place_of_state(row.key)))
        for row in rows
    }


def write_state(connection: Connection, key: str, content: Any) -> None:
    """Keep this under the key; None removes it."""
    connection.execute(sa.delete(ServiceStateRow).where(ServiceStateRow.key == key))
    if content is not None:
        data = json.dumps(content, ensure_ascii=False).encode()
        sealed = vault_of(connection).seal(data, *place_of_state(key))
        connection.execute(sa.insert(ServiceStateRow).values(key=key, content=sealed))
