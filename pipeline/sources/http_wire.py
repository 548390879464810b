"""Reading a socket with limits of time, until reading is halted."""

from __future__ import annotations

import io
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from .base import SourceOptions

_CHECK_EVERY = 0.1  # seconds between two checks whether a silent connection was halted


class Wait:
    """How long to wait for the next bytes: ``seconds``, or until reading is halted.

    Attributes:
        until: when all bytes must be there; None: as long as some arrive.
    """

    def __init__(self, seconds: float, options: SourceOptions) -> None:
        self.seconds = seconds
        self.until: float | None = time.monotonic() + seconds
        self._halt = options.halt

    @property
    def left(self) -> float:
        """Seconds that a step without `Wire` may take."""
        return self.seconds if self.until is None else max(0.01, self.until - time.monotonic())

    def halted(self) -> bool:
        """Reading was halted."""
        return self._halt is not None and self._halt.is_set()


class Wire(io.RawIOBase):
    """Reads a socket; at its end when reading is halted.

    Raises:
        TimeoutError: nothing arrived for too long.
    """

    def __init__(self, channel: socket.socket, wait: Wait) -> None:
        self._channel = channel
        # Keeps the connection open until this is closed: urllib closes the socket itself at once.
        self._file = channel.makefile("rb", buffering=0)
        self._wait = wait
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        until = self._wait.until or time.monotonic() + self._wait.seconds
        pending: Callable[[], int] = getattr(self._channel, "pending", int)  # decrypted by TLS
        while not self._wait.halted():
            late = self._wait.until is not None and time.monotonic() >= self._wait.until
            if not late and (pending() or self._poll.poll(1000 * _CHECK_EVERY)):
                return self._file.readinto(buffer) or 0
            if time.monotonic() >= until:
                raise TimeoutError
        return 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class WireSocket:
    """What ``HTTPResponse`` needs of a socket."""

    def __init__(self, channel: socket.socket, wait: Wait) -> None:
        self._channel = channel
        self._wait = wait

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(Wire(self._channel, self._wait))
