"""What PostgreSQL's errors mean for the user."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from ..core.errors import GalleryCorrupt, GalleryError
from .names import printable

# By the beginning of the SQLSTATE; the longest that fits counts.
_BY_STATE = {
    "28": "refuses the login; look at user and password (in the URL, PGPASSWORD or ~/.pgpass) and "
    "at the server's pg_hba.conf",
    "3D000": "does not exist on that server; make it with CREATE DATABASE",
    "3F000": "has no schema in which tables can be made; look at search_path",
    "42501": "does not allow this to that role; GRANT it what docs/sightings.md lists, or let the "
    "owner of the tables run 'facestream db upgrade'",
    "25006": "is read-only (a standby?); write to the primary server",
    "53100": "cannot grow: the server's disk is full; free some space",
    "53200": "cannot be used: the server is out of memory",
    "53300": "has no connection left; raise the server's max_connections",
    "55P03": "is in use by another process; try again when that is done",
    "57014": "did not answer within the time that the server allows (statement_timeout)",
    "57P": "is not available: the server stops or restarts; try again",
    "08": "is not available: the connection to the server broke; try again",
    "40": "is in use by another process; try again when that is done",
    "58": "cannot be used: the server cannot read or write its files; look at its log",
}
# Parts of libpq's messages; they are English where the server's are not.
_BY_WORDS = {
    ("password authentication failed", "no pg_hba.conf entry", "no password supplied",
     "authentication failed"): _BY_STATE["28"],
    ("starting up", "shutting down", "recovery mode"): _BY_STATE["57P"],
    ("refused", "no such file or directory"): "cannot be reached: no server answers there; look "
    "at host and port, and whether it runs",
    ("resolve", "name or service not known"): "cannot be reached: its host is not known",
    ("certificate",): "is not trusted: its certificate does not fit; look at sslmode and "
    "sslrootcert in the URL",
    ("invalid connection option", "invalid sslmode", "invalid connection", "invalid integer"):
    "has an option in its URL that does not exist",
    ("ssl",): "offers no encryption as the URL asks for it; look at sslmode",
    ("timeout", "timed out", "no route", "unreachable"): "cannot be reached: the server does not "
    "answer; look at host, port and firewall",
    ("too many connections", "too many clients"): _BY_STATE["53300"],
    ("server closed the connection", "connection already closed", "connection is closed",
     "the connection is lost", "terminating connection", "consuming input failed", "broken pipe",
     "connection reset"): _BY_STATE["08"],
}  # fmt: skip


def explain(error: DBAPIError, shown: str) -> GalleryError:
    """One line for an error of the database that is shown like this."""
    cause = str(error.orig)
    state = getattr(error.orig, "sqlstate", None) or ""
    name = f"the database '{shown}'"
    if state.startswith("XX0"):
        return GalleryCorrupt(
            f"{name} is damaged ({_first_line(cause)}); look at the server's log, and restore a "
            "copy"
        )
    meaning = _of_state(state) or _of_words(cause)
    if meaning is None and error.connection_invalidated:
        meaning = _BY_STATE["08"]
    return GalleryError(f"{name} {meaning or f'cannot be used: {_first_line(cause)}'}")


def _of_state(state: str) -> str | None:
    fitting = [key for key in _BY_STATE if state.startswith(key)]
    return _BY_STATE[max(fitting, key=len)] if fitting else None


def _of_words(cause: str) -> str | None:
    lowered = cause.lower()
    if 'database "' in lowered and "does not exist" in lowered:
        return _BY_STATE["3D000"]
    if 'role "' in lowered and "does not exist" in lowered:
        return _BY_STATE["28"]
    for words, meaning in _BY_WORDS.items():
        if any(word in lowered for word in words):
            return meaning
    return None


def _first_line(cause: str) -> str:
    return printable((cause.strip().splitlines() or ["?"])[0])
