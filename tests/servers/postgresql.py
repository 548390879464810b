"""A PostgreSQL server of the tests, in a folder of its own, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PACKAGE = "postgresql"
# The server refuses to run as root.
USERS = ("postgres", "nobody")


class PostgresServer:
    """A server with the user ``facestream``; loopback only.

    Args:
        folder: of the data; must not exist, and the server's user must be able to reach it.
        programs: the folder of ``initdb`` and ``postgres``.
        durable: it waits for the disk at each commit.

    Attributes:
        port: it stays the same over restarts.
    """

    password = "geheim/1"

    def __init__(self, folder: Path, programs: Path, *, durable: bool = False) -> None:
        self._folder, self._programs, self._durable = folder, programs, durable
        self._user = _user() if os.geteuid() == 0 else None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        folder.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(folder, self._user)
        secret = folder.parent / f"{folder.name}.password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._call("initdb", "-D", str(folder), "-U", "facestream", "-E", "UTF8",
                   "--locale=C.UTF-8", "-A", "scram-sha-256", "--pwfile", str(secret),
                   "--no-instructions", "--no-sync")  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or do nothing where it runs; it answers afterwards."""
        if self._process is not None and self._process.poll() is None:
            return
        log = (self._folder.parent / f"{self._folder.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder, "-p", str(self.port),
                 "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                 "-c", f"fsync={'on' if self._durable else 'off'}",
                 "-c", "shared_buffers=64MB", "-c", "max_connections=40"],
                stdout=log, stderr=log, **self._as_user(),  # type: ignore[call-overload]
            )  # fmt: skip
        for _ in range(600):
            ready = subprocess.run(
                [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                check=False,
            )
            if ready.returncode == 0:
                return
            if self._process.poll() is not None:
                break
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise RuntimeError("the server does not start")

    def stop(self) -> None:
        """Stop it; connections end at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it and all its processes with ``kill -9``; it recovers at the next start."""
        self._end(signal.SIGKILL)

    def url(self, database: str, *, user: str = "facestream", password: str | None = None) -> str:
        """Of a database on it."""
        secret = (self.password if password is None else password).replace("/", "%2F")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, options: str = "") -> str:
        """The URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return self.url(name)

    def execute(self, command: str, *, database: str = "postgres") -> None:
        """Run a command of SQL as the server's owner."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(command)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            if how == signal.SIGKILL:  # its children would go on for a moment
                for child in _children(self._process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(child, how)
            self._process.send_signal(how)
            self._process.wait(60)

    def _as_user(self) -> Mapping[str, object]:
        own: dict[str, object] = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
        if self._user is not None:
            own |= {"user": self._user, "group": _group(self._user), "extra_groups": ()}
        return own

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True, text=True, check=False,
            **self._as_user(),  # type: ignore[call-overload]
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")


def programs() -> Path | None:
    """The folder of the server's programs, of the newest version that is installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return None if elsewhere is None else Path(elsewhere).resolve().parent


@contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A running server, see ``PostgresServer``; its data are gone afterwards.

    Raises:
        FileNotFoundError: none is installed.
    """
    where = programs()
    if where is None:
        raise FileNotFoundError(f"needs a PostgreSQL server: apt-get install {PACKAGE}")
    # Not below pytest's own folder, which only root may enter.
    folder = Path(tempfile.mkdtemp(prefix="facestream-pg-", dir=None if durable else _memory()))
    folder.chmod(0o755)
    server = None
    try:
        server = PostgresServer(folder / "data", where, durable=durable)
        server.start()
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def require_postgresql() -> None:
    """Skip the test where no server is installed; fail where REQUIRE_SERVERS=1 says there is."""
    if programs() is not None:
        return
    missing = f"needs a PostgreSQL server: apt-get install {PACKAGE}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"REQUIRE_SERVERS=1, but this {missing}")
    pytest.skip(missing)


def _memory() -> Path | None:
    """A folder in memory: thousands of small files are made and deleted there at once."""
    place = Path("/dev/shm")
    enough = place.is_dir() and shutil.disk_usage(place).free > 2 * 2**30
    return place if enough and os.access(place, os.W_OK) else None


def _user() -> str:
    import pwd

    known = {one.pw_name for one in pwd.getpwall()}
    return next(name for name in USERS if name in known)


def _group(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []
