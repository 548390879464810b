"""Messages on disk until somebody took them: they outlive a broker, a server and this process."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facestream.engines.closing import Closing
from facestream.engines.private_files import private

from ..core.config import Settings, default_outbox_path
from ..core.errors import OutputError
from ..core.events import Event, Left
from .files import make_folder

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, sighting TEXT, person INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS lanes ON messages (lane, id);
CREATE TABLE IF NOT EXISTS states (
    topic TEXT PRIMARY KEY, payload BLOB NOT NULL, person INTEGER, version INTEGER NOT NULL,
    sent INTEGER NOT NULL DEFAULT -1);
CREATE TABLE IF NOT EXISTS forgotten (id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER);
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits.

    Attributes:
        lane: messages of one lane keep their order.
        attempts: how often it was tried.
        due: seconds since the epoch, not to be tried before.
    """

    id: int
    lane: str
    topic: str
    payload: bytes
    attempts: int = 0
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class RetainedState:
    """The newest value of a topic that is retained; an empty one clears it."""

    topic: str
    payload: bytes
    version: int


class Outbox(Closing):
    """A file of messages, each sent once it is acknowledged, and of the states that are retained.

    May be used from several threads, and by several processes; who sends holds a lock besides.

    Args:
        path: made where it is missing, readable by this user only.
        limit: most messages that wait; a further one replaces the oldest.

    Raises:
        OutputError: it cannot be used.
    """

    def __init__(self, path: Path, *, limit: int = 10000) -> None:
        make_folder(path.parent)
        self.path = path
        self._limit = limit
        self._lock = threading.RLock()
        try:
            os.close(private(path, os.O_RDWR | os.O_CREAT))
            self._database = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot open {path}: {error}") from error
        try:
            with self._changing() as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute("PRAGMA secure_delete=ON")
                database.executescript(_TABLES)
                self._waiting = self._count("SELECT count(*) FROM messages")
        except OutputError:
            self._database.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is changed inside is written at once; others wait."""
        with self._changing() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                database.rollback()
                raise
            database.execute("COMMIT")

    @property
    def waiting(self) -> int:
        """Messages that wait, and states that are not sent yet."""
        with self._changing():
            return self._count(
                "SELECT (SELECT count(*) FROM messages) "
                "+ (SELECT count(*) FROM states WHERE sent != version)"
            )

    def put(
        self,
        topic: str,
        payload: bytes,
        *,
        lane: str = "",
        sighting: str | None = None,
        person: int | None = None,
    ) -> int:
        """Add a message; returns how many older ones were dropped for it (0 or 1)."""
        with self._changing() as database:
            database.execute(
                "INSERT INTO messages (lane, topic, payload, sighting, person) VALUES (?,?,?,?,?)",
                (_text(lane), _text(topic), payload, sighting, person),
            )
            self._waiting += 1
            if self._waiting <= self._limit:
                return 0
            self._waiting = self._count("SELECT count(*) FROM messages")
            over = max(self._waiting - self._limit, 0)
            database.execute(
                "DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT ?)",
                (over,),
            )
            self._waiting -= over
            return over

    def next(self) -> Outgoing | None:
        """The oldest message."""
        return self._message("ORDER BY id LIMIT 1")

    def next_due(self, now: float) -> Outgoing | None:
        """The oldest message that is the first of its lane and may be tried."""
        return self._message(
            "WHERE id IN (SELECT min(id) FROM messages GROUP BY lane) AND due <= ? "
            "ORDER BY id LIMIT 1",
            now,
        )

    def done(self, message: Outgoing) -> None:
        """It was acknowledged, or is given up."""
        with self._changing() as database:
            gone = database.execute("DELETE FROM messages WHERE id = ?", (message.id,)).rowcount
            self._waiting -= gone

    def later(self, message: Outgoing, due: float) -> None:
        """It failed, and is tried again."""
        with self._changing() as database:
            database.execute(
                "UPDATE messages SET attempts = attempts + 1, due = ? WHERE id = ?",
                (due, message.id),
            )

    def set_state(
        self, topic: str, payload: bytes, *, person: int | None = None, known_only: bool = False
    ) -> None:
        """The value of a topic is this now.

        Args:
            person: whom it is about, alone.
            known_only: leave it where the topic has no value, or was cleared.
        """
        clean = _text(topic)
        with self._changing() as database:
            row = database.execute("SELECT payload FROM states WHERE topic = ?", (clean,))
            found = row.fetchone()
            if (found is not None and found[0] == payload) or (
                known_only and (found is None or not found[0])
            ):
                return
            database.execute(
                "INSERT INTO states (topic, payload, person, version) VALUES (?,?,?,0) "
                "ON CONFLICT (topic) DO UPDATE SET payload = excluded.payload, "
                "person = excluded.person, version = version + 1",
                (clean, payload, person),
            )

    def states(self) -> dict[str, bytes]:
        """All values, by topic."""
        with self._changing() as database:
            return dict(database.execute("SELECT topic, payload FROM states ORDER BY topic"))

    def send_states_again(self) -> None:
        """The broker may have lost them: all count as not sent."""
        with self._changing() as database:
            database.execute("UPDATE states SET sent = -1")

    def next_state(self) -> RetainedState | None:
        """A value that is not sent yet."""
        with self._changing() as database:
            row = database.execute(
                "SELECT topic, payload, version FROM states WHERE sent != version "
                "ORDER BY topic LIMIT 1"
            ).fetchone()
        return None if row is None else RetainedState(*row)

    def state_sent(self, state: RetainedState) -> None:
        """The broker has it; one that was cleared is removed here, too."""
        with self._changing() as database:
            database.execute(
                "UPDATE states SET sent = ? WHERE topic = ?", (state.version, state.topic)
            )
            if not state.payload:
                database.execute(
                    "DELETE FROM states WHERE topic = ? AND version = ?",
                    (state.topic, state.version),
                )

    def forget(
        self, sightings: Collection[str], person: int | None, mentions: Callable[[bytes], bool]
    ) -> tuple[int, int]:
        """Remove what waits about these sightings or the person, and clear retained values.

        Args:
            mentions: true for the payload of a value that names the person among others.

        Returns:
            How many messages are gone, and how many values are to be cleared.
        """
        with self._changing() as database:
            gone = database.execute(
                "DELETE FROM messages WHERE person = ? "
                "OR sighting IN (SELECT value FROM json_each(?))",
                (person, json.dumps(list(sightings))),
            ).rowcount
            self._waiting = self._count("SELECT count(*) FROM messages")
            cleared = [
                topic
                for topic, payload, about in database.execute(
                    "SELECT topic, payload, person FROM states"
                ).fetchall()
                if payload and ((person is not None and about == person) or mentions(payload))
            ]
            for topic in cleared:
                database.execute(
                    "UPDATE states SET payload = x'', version = version + 1 WHERE topic = ?",
                    (topic,),
                )
            if person is not None:
                database.execute("INSERT INTO forgotten (person) VALUES (?)", (person,))
        return gone, len(cleared)

    def forgotten(self, after: int | None) -> tuple[int, list[int]]:
        """The number of the last `forget` of a person, and the people forgotten after ``after``."""
        with self._changing() as database:
            rows = database.execute(
                "SELECT id, person FROM forgotten WHERE id > ? ORDER BY id", (after or 0,)
            ).fetchall()
        return (rows[-1][0] if rows else after or 0), [row[1] for row in rows]

    def _message(self, which: str, *values: float) -> Outgoing | None:
        query = f"SELECT id, lane, topic, payload, attempts, due FROM messages {which}"
        with self._changing() as database:
            row = database.execute(query, values).fetchone()
        return None if row is None else Outgoing(*row)

    def _count(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                raise OutputError(f"cannot use {self.path}: {error}") from error


def outbox_folder(settings: Settings) -> Path:
    """Where messages wait.

    Raises:
        ConfigError: the user has no home folder.
    """
    if settings.storage.outbox is not None:
        return settings.storage.outbox
    database = settings.storage.database
    return database.parent / "outbox" if isinstance(database, Path) else default_outbox_path()


def without_embedding(event: Event) -> Event:
    """The event as it may leave this machine: an embedding is biometric data."""
    if isinstance(event, Left) and event.embedding is not None:
        return event.model_copy(update={"embedding": None})
    return event


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
