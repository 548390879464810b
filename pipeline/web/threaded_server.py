"""A small HTTP server of the standard library's parts, with limits on connections and times."""

from __future__ import annotations

import errno
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from facestream.engines.closing import Closing

from ..core.config import ServerSettings
from .connections import REFUSED, Connections
from .headers import HEADERS
from .hosts import HostNames

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.25
_REQUEST_BYTES = 16384

Answer = Callable[[str, Message], tuple[dict[str, str], bytes]]
"""From the path (with its query) and the headers of a GET request to headers and body."""


class ThreadedServer(Closing):
    """Answers GET requests, each in a thread and on a connection of its own, until it is closed.

    A client has ``header_timeout`` for its request and ``idle_timeout`` for all of it.

    Args:
        answer: makes the answers; called from several threads.
        listening: the socket; closed with the server.
        settings: the limits.
        hosts: names that the Host header may have.
        name: of the thread.
    """

    def __init__(
        self,
        answer: Answer,
        listening: socket.socket,
        settings: ServerSettings,
        hosts: HostNames,
        *,
        name: str,
    ) -> None:
        self._server = _Server(answer, listening, settings, hosts)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_EVERY,), name=name, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving; may be repeated."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_off(everybody=True)
        self._thread.join()


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True

    def __init__(
        self, answer: Answer, listening: socket.socket, settings: ServerSettings, hosts: HostNames
    ) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the one that TCPServer has made
        self.socket = listening
        self.answer = answer
        self.settings = settings
        self.hosts = hosts
        self._admitted = Connections(settings)
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(_LOOK_EVERY)  # the client still waits: not in a busy loop
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for a connection, if there is room."""
        if not self._admitted.admit(client_address[0]):
            with suppress(OSError):
                request.setblocking(False)
                request.send(REFUSED)
            self.shutdown_request(request)
            return
        with self._lock:
            self._deadlines[request] = time.monotonic() + self.settings.header_timeout
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._forget(request, client_address)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request, client_address)

    def extend(self, request: socket.socket) -> None:
        """The request is complete: the client has time to read the answer."""
        with self._lock:
            self._deadlines[request] = time.monotonic() + self.settings.idle_timeout

    def service_actions(self) -> None:
        """Called a few times a second."""
        self.cut_off()

    def cut_off(self, *, everybody: bool = False) -> None:
        """End the connections that took too long, or all."""
        now = time.monotonic()
        with self._lock:
            late = [one for one, due in self._deadlines.items() if everybody or due <= now]
        for request in late:
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # wakes its thread

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or was cut off, is no error of the run."""
        log.debug("%s", client_address, exc_info=True)

    def _forget(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        self._admitted.release(client_address[0])


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Limited(self.connection, _REQUEST_BYTES))

    def do_GET(self) -> None:
        self.server.extend(self.connection)
        problem = self.server.hosts.problem(self.headers.get("host"))
        if problem is not None:
            self._send(400, {"Content-Type": "text/plain; charset=utf-8"}, f"{problem}\n".encode())
            return
        self._send(200, *self.server.answer(self.path, self.headers))

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """Also those of errors."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "facestream"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


class _Limited(io.RawIOBase):
    """Reads no more than so many bytes: what follows is the end."""

    def __init__(self, connection: socket.socket, most: int) -> None:
        self._connection = connection
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._connection.recv_into(buffer, min(len(buffer), self._left) or 1)
        self._left -= read
        return read if self._left >= 0 else 0
