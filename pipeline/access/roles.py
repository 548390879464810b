"""Roles, and who sends requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from sqlalchemy.engine import Connection

from ..core.errors import UsageError

Role = Literal["viewer", "operator", "admin"]
"""``viewer`` looks and identifies, without embeddings; ``operator`` also changes people;
``admin`` also settings, keys, users and the audit log."""
ROLES: tuple[Role, ...] = get_args(Role)


class AccessDatabase(Protocol):
    """A database with these tables; ``Sightings`` is one."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on which one state is read."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction that writes."""
        ...


@dataclass(frozen=True, slots=True)
class Requester:
    """Who sends a request.

    Attributes:
        name: for the audit log: ``key:NAME``, ``user:NAME`` or ``local``.
        cameras: which may be seen; None: all.
        credential: what proved it: the hash of the key or of the session; empty for ``local``.
    """

    name: str
    role: Role
    cameras: frozenset[str] | None = None
    credential: str = ""

    @property
    def by_browser(self) -> bool:
        """True where a browser adds the credential by itself, also for pages of other sites."""
        return not self.name.startswith("key:")

    def may(self, role: Role) -> bool:
        """True when the actor's role includes this one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def sees(self, camera: str) -> bool:
        """True for a camera that is in the actor's scope."""
        return self.cameras is None or camera in self.cameras


def parse_role(text: str) -> Role:
    """A role by its name.

    Raises:
        UsageError: there is no such role.
    """
    for role in ROLES:
        if role == text:
            return role
    raise UsageError(f"there is no role {text!r}; the roles are {', '.join(ROLES)}")


def stored_cameras(cameras: Sequence[str] | None) -> str | None:
    """A list of cameras as it is stored."""
    return json.dumps(sorted(set(cameras))) if cameras else None


def read_cameras(text: str | None) -> frozenset[str] | None:
    """The cameras of ``stored_cameras``."""
    return None if text is None else frozenset(json.loads(text))
