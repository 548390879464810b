"""Starts, kills and restarts the RTSP server program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from facestream.engines.closing import Closing

from .debian import PYTHON

PROGRAM = Path(__file__).with_name("rtsp_program.py")


class RtspServer(Closing):
    """A real RTSP server on 127.0.0.1, in a process of its own.

    ::

        with RtspServer({"/clip": path}) as server:
            av.open(server.url("/clip"))

    Args:
        mounts: what is served under which path: H.264 in MP4, Matroska or MPEG-TS, from its start
            for each client.
        user: who may see it; empty lets everybody.
        password: of that user.
        certificate: file with certificate and key, for TLS.
    """

    def __init__(
        self,
        mounts: Mapping[str, Path],
        *,
        user: str = "",
        password: str = "",
        certificate: Path | None = None,
    ) -> None:
        self.port = 0
        self._mounts = {path: str(file) for path, file in mounts.items()}
        shown = "" if certificate is None else str(certificate)
        self._login = {"user": user, "password": password, "certificate": shown}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, on the same port as before; returns when it listens.

        Raises:
            RuntimeError: it runs already, or did not start.
        """
        if self._process is not None:
            raise RuntimeError("the server runs already")
        wishes = {"port": self.port, "mounts": self._mounts, **self._login}
        process = subprocess.Popen(
            [PYTHON, str(PROGRAM), json.dumps(wishes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._process = process
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready "):
            self.kill()
            raise RuntimeError(f"the RTSP server did not start: {line!r}")
        self.port = int(line.split()[1])

    def kill(self) -> None:
        """End it at once, as a power cut would; its connections are reset. May be repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def url(self, path: str, *, login: str = "", port: int | None = None) -> str:
        """Where a mount is found.

        Args:
            path: of the mount.
            login: ``user:password``.
            port: of a proxy in front of it.
        """
        at = f"{login}@" if login else ""
        scheme = "rtsps" if self._login["certificate"] else "rtsp"
        return f"{scheme}://{at}127.0.0.1:{port or self.port}{path}"

    @property
    def pid(self) -> int:
        """Of the server's process.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def close(self) -> None:
        """See `kill`."""
        self.kill()
