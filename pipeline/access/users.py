"""People who log in, and their sessions."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ..core.errors import UsageError
from ..storage.access_schema import SessionRow, UserRow
from ..storage.names import name_key
from .keys import check_account_name, digest
from .roles import AccessDatabase, Requester, Role, parse_role, read_cameras, stored_cameras

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SESSION_HOURS: Final = 12
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256

# Each check of a password takes 64 MB: guesses must not use up the memory.
_hashing = threading.Semaphore(2)


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password; ``cameras`` None: all."""

    name: str
    role: Role
    cameras: frozenset[str] | None
    created_at: datetime


def add_user(
    database: AccessDatabase,
    name: str,
    password: str,
    *,
    role: Role,
    cameras: Sequence[str] | None = None,
) -> User:
    """Make a user, or give one a new password, role and cameras; open sessions end.

    Raises:
        UsageError: the name or the password cannot be used.
    """
    check_account_name(name)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    with _hashing:
        hashed = _hasher().hash(password)
    values = {"name": name, "password": hashed, "role": role, "cameras": stored_cameras(cameras)}
    key = name_key(name)
    with database.writing() as connection:
        found = connection.execute(sa.select(UserRow.id).where(UserRow.name_key == key)).first()
        if found is None:
            row = {**values, "name_key": key, "created_at": datetime.now(UTC)}
            connection.execute(sa.insert(UserRow), [row])
        else:
            connection.execute(sa.update(UserRow).where(UserRow.id == found.id).values(values))
            connection.execute(sa.delete(SessionRow).where(SessionRow.user_id == found.id))
        return _user(connection.execute(_select().where(UserRow.name_key == key)).one())


def list_users(database: AccessDatabase) -> list[User]:
    """All users, the oldest first."""
    with database.reading() as connection:
        return [_user(row) for row in connection.execute(_select().order_by(UserRow.id))]


def remove_user(database: AccessDatabase, name: str) -> None:
    """Remove a user; open sessions end.

    Raises:
        UsageError: there is none of this name.
    """
    with database.writing() as connection:
        gone = connection.execute(sa.delete(UserRow).where(UserRow.name_key == name_key(name)))
        if not gone.rowcount:
            raise UsageError(f"there is no user {name!r}; 'facestream serve user list' shows them")


def log_in(
    database: AccessDatabase, name: str, password: str, *, replaces: str | None = None
) -> tuple[Requester, str] | None:
    """A new session, and the text of its cookie; None where name or password are wrong.

    Args:
        replaces: the cookie of an earlier session, which ends.
    """
    from argon2.exceptions import Argon2Error, InvalidHashError

    query = sa.select(UserRow.__table__).where(UserRow.name_key == name_key(name))
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    with _hashing:
        try:
            # Unknown names take as long as known ones.
            _hasher().verify(_nobody() if row is None else row.password, password)
        except (Argon2Error, InvalidHashError):
            return None
    if row is None:
        return None
    token, now = secrets.token_urlsafe(32), datetime.now(UTC)
    session = {
        "sha256": digest(token),
        "user_id": row.id,
        "created_at": now,
        "expires_at": now + timedelta(hours=SESSION_HOURS),
    }
    with database.writing() as connection:
        old = SessionRow.expires_at < now
        if replaces is not None:
            old = sa.or_(old, SessionRow.sha256 == digest(replaces))
        connection.execute(sa.delete(SessionRow).where(old))
        connection.execute(sa.insert(SessionRow), [session])
    return _actor(row, digest(token)), token


def log_out(database: AccessDatabase, sha256: str) -> None:
    """End a session."""
    with database.writing() as connection:
        connection.execute(sa.delete(SessionRow).where(SessionRow.sha256 == sha256))


def actor_of_session(database: AccessDatabase, sha256: str, now: datetime) -> Requester | None:
    """Who has the session with this `digest`; None where it has ended."""
    query = (
        sa.select(UserRow.__table__)
        .join(SessionRow, SessionRow.user_id == UserRow.id)
        .where(SessionRow.sha256 == sha256, SessionRow.expires_at > now)
    )
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _actor(row, sha256)


def csrf_token(session: str) -> str:
    """What a page of this service must send with each change; other sites cannot know it.

    Args:
        session: the digest of the session's cookie.
    """
    return hmac.new(session.encode(), b"facestream csrf", hashlib.sha256).hexdigest()


def _actor(row: sa.Row[Any], sha256: str) -> Requester:
    return Requester(f"user:{row.name}", parse_role(row.role), read_cameras(row.cameras), sha256)


@cache
def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher  # of the extra `server`
    except ImportError as error:
        raise UsageError(
            "users need argon2-cffi, which is not installed: pip install 'facestream[server]'"
        ) from error
    return PasswordHasher()


@cache
def _nobody() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


def _select() -> sa.Select[Any]:
    return sa.select(UserRow.__table__)


def _user(row: sa.Row[Any]) -> User:
    return User(row.name, parse_role(row.role), read_cameras(row.cameras), row.created_at)
