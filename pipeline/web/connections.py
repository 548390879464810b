"""Who is connected: a server's connections in all and of each client, within its limits."""

from __future__ import annotations

import threading
from collections import Counter

from ..core.config import ServerSettings

REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n"
)
"""The answer to a client for whom there is no room."""


class Connections:
    """Counts a server's connections; from any thread."""

    def __init__(self, settings: ServerSettings) -> None:
        self._most = settings.max_connections
        self._most_of_one = settings.max_connections_per_client
        self._lock = threading.Lock()
        self._clients: Counter[str] = Counter()

    def admit(self, client: str) -> bool:
        """Count a connection of this address; False, and not counted, where there is no room."""
        with self._lock:
            if self._clients.total() >= self._most or self._clients[client] >= self._most_of_one:
                return False
            self._clients[client] += 1
            return True

    def release(self, client: str) -> None:
        """An admitted connection of this address has ended."""
        with self._lock:
            self._clients[client] -= 1
            if self._clients[client] <= 0:
                del self._clients[client]
