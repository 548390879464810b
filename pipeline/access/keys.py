"""Keys of machines: made, listed, revoked and found."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ..core.errors import UsageError
from ..storage.access_schema import ApiKeyRow, UserRow
from .roles import AccessDatabase, Requester, Role, parse_role, read_cameras, stored_cameras

PREFIX: Final = "fs_"
SHOWN: Final = 8
"""Characters of a key that are kept, so that people can tell keys apart."""
LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Attributes:
        prefix: its first characters.
        cameras: which may be seen; None: all.
        expires_at, revoked_at: UTC; None: never, not.
    """

    name: str
    prefix: str
    role: Role
    cameras: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def usable(self, now: datetime) -> bool:
        """True for a key that is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def add_key(
    database: AccessDatabase,
    name: str,
    *,
    role: Role,
    cameras: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; the text is returned once and cannot be read again.

    Raises:
        UsageError: the name is taken or cannot be used.
    """
    check_account_name(name)
    token = PREFIX + secrets.token_urlsafe(32)
    row = {
        "name": name,
        "prefix": token[:SHOWN],
        "sha256": digest(token),
        "role": role,
        "cameras": stored_cameras(cameras),
        "created_at": datetime.now(UTC),
        "expires_at": expires_at,
    }
    with database.writing() as connection:
        if connection.execute(sa.select(ApiKeyRow.id).where(ApiKeyRow.name == name)).first():
            raise UsageError(f"there is, or was, a key {name!r}; choose another name")
        connection.execute(sa.insert(ApiKeyRow), [row])
        made = _key(connection.execute(_select().where(ApiKeyRow.name == name)).one())
    return made, token


def list_keys(database: AccessDatabase) -> list[ApiKey]:
    """All keys, also those that are revoked or expired; the oldest first."""
    with database.reading() as connection:
        return [_key(row) for row in connection.execute(_select().order_by(ApiKeyRow.id))]


def revoke_key(database: AccessDatabase, name: str) -> ApiKey:
    """Refuse a key from now on.

    Raises:
        UsageError: there is none of this name.
    """
    with database.writing() as connection:
        connection.execute(
            sa.update(ApiKeyRow)
            .where(ApiKeyRow.name == name, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )
        row = connection.execute(_select().where(ApiKeyRow.name == name)).one_or_none()
        if row is None:
            raise UsageError(f"there is no key {name!r}; 'facestream serve key list' shows them")
        return _key(row)


def actor_of_key(database: AccessDatabase, sha256: str, now: datetime) -> Requester | None:
    """Whose key has this `digest`; None for one that is unknown, revoked or expired."""
    with database.reading() as connection:
        row = connection.execute(_select().where(ApiKeyRow.sha256 == sha256)).one_or_none()
    if row is None:
        return None
    key = _key(row)
    return Requester(f"key:{key.name}", key.role, key.cameras, sha256) if key.usable(now) else None


def access_is_set_up(database: AccessDatabase) -> bool:
    """True once there is a key or a user, also one that is revoked: then nobody comes without."""
    with database.reading() as connection:
        return any(
            connection.execute(sa.select(table.id).limit(1)).first() is not None
            for table in (ApiKeyRow, UserRow)
        )


def check_account_name(name: str) -> None:
    """Raises UsageError for a name that a key or user cannot have."""
    if not name or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} cannot be the name of a key or user: it needs 1 to "
            f"{LONGEST_NAME} printable characters, no spaces at its ends"
        )


def digest(token: str) -> str:
    """What is stored of a key or of a session's cookie."""
    return hashlib.sha256(token.encode()).hexdigest()


def _select() -> sa.Select[Any]:
    return sa.select(ApiKeyRow.__table__)


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        row.name,
        row.prefix,
        parse_role(row.role),
        read_cameras(row.cameras),
        row.created_at,
        row.expires_at,
        row.revoked_at,
    )
