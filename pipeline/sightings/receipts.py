"""Receipts of what was erased: when, by whom, what kind, how much; nobody is named."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import secrets
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, select

from ..storage.database import REVISIONS
from ..storage.names import name_key
from ..storage.schema import ReceiptRow

ErasureKind = Literal["person", "sightings", "before", "unknown_older_than", "retention"]
# Guessing a name from its hash takes so many rounds for each guess.
_ROUNDS = 100_000

UNSEEN = "not looked at: the files are a server's"
"""Outcome of the check of files where the database is a server's."""

OUT_OF_REACH = (
    "backups and exports",
    "outputs of runs that were not named (events, pictures, videos, reports)",
    "snapshots and copies of the file system, worn blocks of an SSD, swap space",
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """That something was erased.

    Attributes:
        at: UTC, ISO 8601.
        by: the user and machine that did it.
        kind: what was asked for.
        subject: of a person ``SALT:HASH`` of the name, see `is_subject`; null otherwise.
        name: only where that was asked for.
        rows: how many rows of each table are gone; ``mentions``: how many were changed.
        files: how many pictures were erased.
        outputs: what was taken out of the outputs that were named, by path.
        proof: the outcome of each check: ``passed``, `UNSEEN`, or what is wrong; null: not made
            yet.
        schema: of the database.
        out_of_reach: what was not looked at.
    """

    kind: ErasureKind
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    by: str = field(default_factory=lambda: who())
    subject: str | None = None
    name: str | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    outputs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    proof: Mapping[str, str] | None = None
    schema: str = REVISIONS[-1]
    out_of_reach: tuple[str, ...] = OUT_OF_REACH

    @property
    def proved(self) -> bool:
        """Whether every check was passed."""
        return self.proof is not None and set(self.proof.values()) <= {"passed", UNSEEN}

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def who() -> str:
    """The user and the machine."""
    user = "unknown"
    with suppress(OSError, KeyError, ImportError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def subject_of(name: str) -> str:
    """The salted hash of a name."""
    salt = secrets.token_hex(16)
    return f"{salt}:{_hash(salt, name)}"


def is_subject(subject: str | None, name: str) -> bool:
    """Whether a receipt is of the person of this name."""
    salt, _, known = (subject or "").partition(":")
    return bool(known) and hmac.compare_digest(known, _hash(salt, name))


def store_receipt(connection: Connection, receipt: Receipt) -> None:
    """Add a receipt, or replace it by one with the same id."""
    text = json.dumps(receipt.to_dict(), ensure_ascii=False)
    at = datetime.fromisoformat(receipt.at)
    connection.execute(sa.delete(ReceiptRow).where(ReceiptRow.id == receipt.id))
    connection.execute(sa.insert(ReceiptRow).values(id=receipt.id, at=at, content=text))


def read_receipts(connection: Connection) -> list[Receipt]:
    """All receipts, oldest first."""
    rows = connection.scalars(select(ReceiptRow.content).order_by(ReceiptRow.at, ReceiptRow.id))
    return [_parsed(text) for text in rows]


def read_receipt(connection: Connection, receipt_id: str) -> Receipt | None:
    """One receipt; None where there is none with this id."""
    query = select(ReceiptRow.content).where(ReceiptRow.id == receipt_id)
    text = connection.execute(query).scalar()
    return None if text is None else _parsed(text)


def _parsed(text: str) -> Receipt:
    read = Receipt(**json.loads(text))
    return replace(read, out_of_reach=tuple(read.out_of_reach))


def _hash(salt: str, name: str) -> str:
    key = name_key(name).encode()
    return hashlib.pbkdf2_hmac("sha256", key, bytes.fromhex(salt), _ROUNDS).hex()
