"""Encryption at rest: templates and pictures are sealed before they are stored.

A database has data keys, which are encrypted (wrapped) by the user's key. So another key of the
user only wraps them anew. What is sealed is AES-256-GCM with the place that it belongs to as
associated data: exchanged with the content of another row it does not open.

    "FSE" 1 | number of the data key, 2 bytes | nonce, 12 | ciphertext | tag, 16

The state of a database is in ``meta``: nothing for an unencrypted one; else ``enabling``, ``on``,
``rotating`` or ``disabling``, and a random stamp by which other processes see that it changed.
Each transaction that writes looks at it first, so they need not be ended for a change.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.orm import Session

from ..core.errors import ConfigError, GalleryCorrupt, GalleryError
from ..core.location import Location
from ..core.user_key import ENVIRONMENT, KEY_BYTES, user_key
from .names import printable
from .schema import DataKeyRow, MetaRow

EncryptionState = Literal["off", "enabling", "on", "rotating", "disabling"]
META = "encryption"
OPTION = "facestream_vault"
"""Execution option of engines and connections that has their vault."""

_MAGIC = b"FSE\x01"
_HEADER = struct.Struct(">4sH12s")
PREFIX_BYTES = 6
OVERHEAD = _HEADER.size + 16
_MOST_KEYS = 0xFFFF
# In these nothing is plain.
_WHOLLY = ("on", "rotating")


@dataclass(frozen=True, slots=True)
class _Keys:
    """What is known of a database's encryption.

    Attributes:
        stamp: of the state.
        ciphers: AESGCM by number of the data key.
        active: the number that writes; None: what is written stays plain.
    """

    state: EncryptionState = "off"
    stamp: str = ""
    ciphers: Mapping[int, Any] = field(default_factory=dict)
    active: int | None = None


class Vault:
    """Seals and opens what a database stores; without keys all stays as it is.

    Args:
        location: of the database, for messages.
    """

    def __init__(self, location: Location) -> None:
        self._shown = printable(str(location))
        self._keys = _Keys()

    @property
    def state(self) -> EncryptionState:
        """As it was read last."""
        return self._keys.state

    @property
    def active(self) -> int | None:
        """Number of the data key that writes; None: what is written stays plain."""
        return self._keys.active

    @property
    def overhead(self) -> int:
        """How many bytes more what is written takes."""
        return 0 if self.active is None else OVERHEAD

    def refresh(self, connection: Connection) -> None:
        """Read the keys if they changed.

        Raises:
            GalleryError: the user's key is missing or another one.
        """
        value = connection.execute(select(MetaRow.value).where(MetaRow.key == META)).scalar()
        if (value or "") != self._keys.stamp:
            self._keys = self._read(connection, value or "")

    def _read(self, connection: Connection, stamp: str) -> _Keys:
        state = stamp.partition(" ")[0] or "off"
        if _keyless.get():
            return _Keys(state, stamp)  # type: ignore[arg-type]
        rows = connection.execute(select(DataKeyRow.__table__)).all()
        # Those that are gone stay: a picture may wait that was sealed a moment ago.
        ciphers = dict(self._keys.ciphers)
        # The user's key may be another one by now: what is open stays open.
        if unknown := [row for row in rows if row.id not in ciphers]:
            key = required_key(f"the database '{self._shown}'")
            ciphers |= {row.id: _cipher(self.unwrapped(row, key)) for row in unknown}
        active = [row.id for row in rows if row.state == "active"]
        return _Keys(state, stamp, ciphers, active[-1] if active else None)  # type: ignore[arg-type]

    def unwrapped(self, row: Any, key: bytes) -> bytes:
        """The data key of a row of ``DataKeyRow``.

        Raises:
            GalleryError: the user's key is another one.
        """
        from cryptography.exceptions import InvalidTag

        if row.user_key != fingerprint(key):
            raise GalleryError(
                f"the database '{self._shown}' is encrypted by another key (its fingerprint is "
                f"{row.user_key}, that of the given one {fingerprint(key)}); set {ENVIRONMENT} or "
                "storage.key_file to the right one"
            )
        try:
            nonce, sealed = row.wrapped[:12], row.wrapped[12:]
            data_key: bytes = _cipher(key).decrypt(nonce, sealed, f"data key {row.id}".encode())
        except InvalidTag as error:
            raise GalleryCorrupt(
                f"the database '{self._shown}' is damaged: its data key {row.id} does not open; "
                "restore a backup"
            ) from error
        return data_key

    def seal(self, data: bytes, *place: object) -> bytes:
        """What is stored at a place (table, row, model, column) instead of ``data``."""
        keys = self._keys
        if keys.active is None:
            return data
        nonce = secrets.token_bytes(12)
        sealed = keys.ciphers[keys.active].encrypt(nonce, data, _place(place))
        return _HEADER.pack(_MAGIC, keys.active, nonce) + bytes(sealed)

    def open(self, connection: Connection | None, data: bytes, *place: object) -> bytes:
        """What was given to `seal`.

        Args:
            connection: on which the keys are read, should they have changed; None: they are not.

        Raises:
            GalleryCorrupt: it was changed, or belongs to another place.
            GalleryError: the user's key is missing or another one.
        """
        number = key_of(data)
        if connection is not None and (
            number not in self._keys.ciphers if number is not None else self.state in _WHOLLY
        ):
            self.refresh(connection)
        keys = self._keys
        if number is None or number not in keys.ciphers:
            if number is not None and keys.state != "off":
                raise self._damaged(f"is encrypted by the data key {number}, not there", place)
            if keys.state in _WHOLLY:
                raise self._damaged("is not encrypted, as all of it should be", place)
            return data  # never sealed, or not yet
        from cryptography.exceptions import InvalidTag

        _, _, nonce = _HEADER.unpack_from(data)
        try:
            opened = keys.ciphers[number].decrypt(nonce, data[_HEADER.size :], _place(place))
        except InvalidTag as error:
            raise self._damaged("was changed or comes from another place", place) from error
        return bytes(opened)

    def _damaged(self, why: str, place: tuple[object, ...]) -> GalleryCorrupt:
        return GalleryCorrupt(
            f"the database '{self._shown}' is damaged: {place[0]} "
            f"{printable(str(place[1]))} {why}; restore a backup"
        )


def vault_of(bind: Connection | Session) -> Vault:
    """The vault of the database that a connection or session reads."""
    connection = bind.connection() if isinstance(bind, Session) else bind
    found: Vault = connection.get_execution_options()[OPTION]
    return found


def key_of(data: bytes) -> int | None:
    """The number of the data key that something is sealed by; None where it is not sealed."""
    if len(data) < OVERHEAD or data[:4] != _MAGIC:
        return None
    return int(_HEADER.unpack_from(data)[1])


def prefix_of(number: int) -> bytes:
    """What begins everything that is sealed by this data key."""
    return _MAGIC + struct.pack(">H", number)


_keyless: ContextVar[bool] = ContextVar("keyless", default=False)


@contextmanager
def without_key() -> Iterator[None]:
    """In this thread, open encrypted databases without their key: nothing sealed can be read."""
    token = _keyless.set(True)
    try:
        yield
    finally:
        _keyless.reset(token)


def fingerprint(key: bytes) -> str:
    """By which a key of the user is recognised; tells nothing of it."""
    return sha256(b"facestream key " + key).hexdigest()[:16]


def required_key(what: str) -> bytes:
    """The user's key.

    Raises:
        GalleryError: none is given, or it cannot be used.
    """
    try:
        key = user_key()
    except ConfigError as error:
        raise GalleryError(str(error)) from error
    if key is None:
        raise GalleryError(
            f"{what} is encrypted: give its key in the environment variable {ENVIRONMENT} or the "
            "setting storage.key_file"
        )
    return key


def add_key(connection: Connection, key: bytes) -> int:
    """Make a data key, wrapped by the user's; the others are ``old`` from now on.

    Returns:
        Its number.

    Raises:
        GalleryError: there were too many.
    """
    now = datetime.now(UTC)
    connection.execute(sa.update(DataKeyRow).values(state="old"))
    row = {"wrapped": b"", "user_key": fingerprint(key), "state": "active", "created_at": now}
    made = connection.execute(sa.insert(DataKeyRow).values(row)).inserted_primary_key
    assert made is not None
    number = int(made[0])
    if number > _MOST_KEYS:
        raise GalleryError("this database has had too many keys; restore it into a new one")
    wrap(connection, number, secrets.token_bytes(KEY_BYTES), key)
    return number


def wrap(connection: Connection, number: int, data_key: bytes, key: bytes) -> None:
    """Store a data key, wrapped by the user's key."""
    nonce = secrets.token_bytes(12)
    sealed = _cipher(key).encrypt(nonce, data_key, f"data key {number}".encode())
    connection.execute(
        sa.update(DataKeyRow)
        .where(DataKeyRow.id == number)
        .values(wrapped=nonce + sealed, user_key=fingerprint(key))
    )


def set_state(connection: Connection, state: EncryptionState) -> None:
    """Note the state, so that every process reads the keys anew."""
    connection.execute(sa.delete(MetaRow).where(MetaRow.key == META))
    if state != "off":
        value = f"{state} {secrets.token_hex(6)}"
        connection.execute(sa.insert(MetaRow).values(key=META, value=value))


def _place(parts: tuple[object, ...]) -> bytes:
    return "\0".join(map(str, parts)).encode()


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise GalleryError(
            "encrypted databases need the package cryptography: "
            "pip install 'facestream[encryption]'"
        ) from error
    return AESGCM(key)
