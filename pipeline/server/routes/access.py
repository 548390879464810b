"""Keys of machines, and users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Path, Request
from pydantic import Field

from ...access.keys import ApiKey, add_key, list_keys, revoke_key
from ...access.roles import Role
from ...access.users import User, add_user, list_users, remove_user
from ...core.errors import UsageError
from ..dependencies import TheService, changes, changing, looks
from ..models import Answer, camera_list, in_utc
from ..problems import RequestRefused

reading = looks("admin", "access")
writing = changes("admin", "access")
routers = (reading, writing)

Name = Annotated[str, Path(min_length=1, max_length=64)]


class AccountIn(Answer):
    """What a key or user may do."""

    name: str = Field(min_length=1, max_length=64, examples=["door-panel"])
    role: Role = "viewer"
    cameras: list[str] | None = Field(default=None, max_length=1000)
    """Null: all."""


class KeyIn(AccountIn):
    """A key to make."""

    expires_at: datetime | None = None


class UserIn(AccountIn):
    """A user to make, or one who gets a new password, role and cameras."""

    password: str = Field(min_length=10, max_length=256)


class KeyOut(Answer):
    """A key without its secret."""

    name: str
    prefix: str
    role: Role
    cameras: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        return cls(
            name=key.name,
            prefix=key.prefix,
            role=key.role,
            cameras=camera_list(key.cameras),
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


class NewKeyOut(Answer):
    """A key that was made."""

    key: str
    """Shown this once."""
    about: KeyOut


class KeysOut(Answer):
    """All keys, the oldest first."""

    keys: list[KeyOut]


class UserOut(Answer):
    """A user."""

    name: str
    role: Role
    cameras: list[str] | None
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> UserOut:
        return cls(
            name=user.name,
            role=user.role,
            cameras=camera_list(user.cameras),
            created_at=user.created_at,
        )


class UsersOut(Answer):
    """All users, the oldest first."""

    users: list[UserOut]


@reading.get("/keys")
def list_all_keys(service: TheService) -> KeysOut:
    """All keys, also those that are revoked or expired."""
    return KeysOut(keys=[KeyOut.of(one) for one in list_keys(service.sightings)])


@writing.post("/keys", status_code=201)
def make_key(body: KeyIn, service: TheService, request: Request) -> NewKeyOut:
    """Make a key; the answer shows it this once. The first one ends access without a key."""
    with changing(request, f"key {body.name} ({body.role})"):
        key, token = add_key(
            service.sightings,
            body.name,
            role=body.role,
            cameras=body.cameras,
            expires_at=in_utc(body.expires_at),
        )
    return NewKeyOut(key=token, about=KeyOut.of(key))


@writing.delete("/keys/{name}")
def revoke(name: Name, service: TheService, request: Request) -> KeyOut:
    """Refuse a key from now on."""
    with changing(request, f"key {name}"), _or_404():
        return KeyOut.of(revoke_key(service.sightings, name))


@reading.get("/users")
def list_all_users(service: TheService) -> UsersOut:
    """All users."""
    return UsersOut(users=[UserOut.of(one) for one in list_users(service.sightings)])


@writing.post("/users", status_code=201)
def make_user(body: UserIn, service: TheService, request: Request) -> UserOut:
    """Make a user, or give one a new password, role and cameras; their sessions end."""
    with changing(request, f"user {body.name} ({body.role})"):
        user = add_user(
            service.sightings, body.name, body.password, role=body.role, cameras=body.cameras
        )
    return UserOut.of(user)


@writing.delete("/users/{name}", status_code=204)
def delete_user(name: Name, service: TheService, request: Request) -> None:
    """Remove a user; their sessions end."""
    with changing(request, f"user {name}"), _or_404():
        remove_user(service.sightings, name)


@contextmanager
def _or_404() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if error.__cause__ is not None:
            raise
        raise RequestRefused(404, "there is none of this name") from error
