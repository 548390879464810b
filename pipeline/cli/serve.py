"""``facestream serve``: runs the service; keys, users and the audit log on the command line."""

from __future__ import annotations

import getpass
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..access.audit_log import read_audit, verify_audit
from ..access.keys import add_key, list_keys, revoke_key
from ..access.roles import parse_role
from ..access.users import add_user, list_users, remove_user
from ..core.addresses import Address
from ..core.config import load_settings
from ..core.errors import UsageError
from ..sightings import Sightings
from ..storage.audit import AuditEntry, audited
from ..storage.names import printable
from .console import json_text, print_json, say, stdout, table, warn
from .errors import BAD_INPUT
from .signals import stopping_on_signals
from .who import local, open_sightings

_LATER = re.compile(r"(\d+)\s*(h|d|w)")
_HOURS = {"h": 1, "d": 24, "w": 168}


def serve_until_stopped(
    listen: str,
    *,
    tls: tuple[Path | None, Path | None],
    config: Path | None,
    flags: Mapping[str, Any],
) -> None:
    """Serve until a signal ends it.

    Raises:
        UsageError, GalleryError, EngineError: see `ServiceServer`.
    """
    from ..server.serving import ServiceServer, need_packages, notify_systemd

    settings = load_settings(file=config, environment=os.environ, flags=flags)
    settings.storage.apply()
    address = Address.parse(listen, flag="--listen")
    certificate, key = tls
    if (certificate is None) != (key is None):
        raise UsageError("--tls-cert and --tls-key go together; give both")
    need_packages()
    files = None if certificate is None or key is None else (certificate, key)
    stopped = threading.Event()
    with stopping_on_signals(stopped.set), ServiceServer(settings, address, tls=files) as server:
        who = "this machine, without a key" if server.service.open_to_all() else "whoever has a key"
        print(f"facestream: ready at {server.url} for {who}", file=sys.stderr, flush=True)
        notify_systemd("READY=1")
        stopped.wait()
        notify_systemd("STOPPING=1")


def make_key(
    db: str | None,
    config: Path | None,
    name: str,
    *,
    role: str,
    cameras: Sequence[str] | None,
    expires: str | None,
) -> None:
    """Print a new key, once."""
    expires_at = None if expires is None else _later(expires)
    with _changing(db, config, "access.make_key", f"key {name} ({role})") as database:
        _, token = add_key(
            database, name, role=parse_role(role), cameras=cameras, expires_at=expires_at
        )
    print(token)
    print("Keep it now: it is not shown again.", file=sys.stderr)


def show_keys(db: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print all keys, without their secrets."""
    database, _ = open_sightings(db, config)
    with database:
        keys = list_keys(database)
    now = datetime.now(UTC)
    if as_json:
        rows = [
            {
                "name": key.name,
                "prefix": key.prefix,
                "role": key.role,
                "cameras": None if key.cameras is None else sorted(key.cameras),
                "created_at": key.created_at.isoformat(),
                "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
                "usable": key.usable(now),
            }
            for key in keys
        ]
        print_json({"keys": rows})
        return
    shown = table("Name", "Begins with", "Role", "Cameras", "Made", "State")
    for key in keys:
        until = "" if key.expires_at is None else f", until {local(key.expires_at)}"
        state = "revoked" if key.revoked_at is not None else "expired"
        shown.add_row(
            printable(key.name),
            key.prefix,
            key.role,
            _cameras(key.cameras),
            local(key.created_at),
            f"usable{until}" if key.usable(now) else state,
        )
    stdout().print(shown) if keys else say("there is no key yet: 'facestream serve key add NAME'")


def end_key(db: str | None, config: Path | None, name: str) -> None:
    """Revoke a key."""
    with _changing(db, config, "access.revoke", f"key {name}") as database:
        revoke_key(database, name)
    say(f"Revoked the key '{printable(name)}'")


def make_user(
    db: str | None, config: Path | None, name: str, *, role: str, cameras: Sequence[str] | None
) -> None:
    """Make a user, or give one a new password; it is asked for, or the first line of stdin."""
    wanted = parse_role(role)
    password = _password()
    with _changing(db, config, "access.make_user", f"user {name} ({role})") as database:
        add_user(database, name, password, role=wanted, cameras=cameras)
    say(f"'{printable(name)}' can log in as {role}")


def show_users(db: str | None, config: Path | None) -> None:
    """Print all users."""
    database, _ = open_sightings(db, config)
    with database:
        users = list_users(database)
    shown = table("Name", "Role", "Cameras", "Made")
    for user in users:
        row = (printable(user.name), user.role, _cameras(user.cameras), local(user.created_at))
        shown.add_row(*row)
    stdout().print(shown) if users else say("there is no user yet: 'facestream serve user add'")


def end_user(db: str | None, config: Path | None, name: str) -> None:
    """Remove a user."""
    with _changing(db, config, "access.delete_user", f"user {name}") as database:
        remove_user(database, name)
    say(f"Removed the user '{printable(name)}'")


def show_audit(db: str | None, config: Path | None, *, verify: bool, limit: int | None) -> int:
    """Print the log as lines of JSON, or verify it; returns the exit status."""
    database, _ = open_sightings(db, config)
    with database:
        if not verify:
            for entry in read_audit(database, limit=limit):
                print(json_text(entry.to_dict()))
            return 0
        found = verify_audit(database)
    if found.problem:
        warn(f"the audit log is not whole: {found.problem}")
        return BAD_INPUT
    say(f"{found.entries:,} entries, whole; the last hash is {found.head}")
    return 0


@contextmanager
def _changing(db: str | None, config: Path | None, action: str, target: str) -> Iterator[Sightings]:
    database, _ = open_sightings(db, config, create="if_missing")
    try:
        who = getpass.getuser()
    except (OSError, KeyError, ImportError):
        who = str(os.getuid())
    with database, audited(AuditEntry(f"shell:{who}", action, target)):
        yield database


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise UsageError("the two passwords differ; nothing was changed")
    return first


def _later(text: str) -> datetime:
    """When something ends: after a time such as ``90d``, or at a date."""
    if (found := _LATER.fullmatch(text.strip())) is not None:
        return datetime.now(UTC) + timedelta(hours=int(found[1]) * _HOURS[found[2]])
    try:
        at = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--expires: {text!r} is no time; give e.g. 90d or 2027-01-31") from error
    return at


def _cameras(cameras: frozenset[str] | None) -> str:
    return "all" if cameras is None else printable(", ".join(sorted(cameras)))
