"""uvicorn in a thread, with limits on connections and times."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import h11
import uvicorn
from facestream.engines.closing import Closing
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..core.config import ServerSettings
from ..core.errors import OutputError
from .connections import REFUSED, Connections
from .listen import BACKLOG

log = logging.getLogger(__name__)

STOP_SECONDS = 1
"""How long a client may take to notice the end."""
ACCEPTED_AT_ONCE = 4
"""asyncio accepts so many clients before the first of them can be refused."""
LEAST_BYTES_PER_SECOND = 500
"""Slower bodies are cut off."""
WEBSOCKET_BYTES = 4096
"""Largest message that a client may send."""
_LOOK_EVERY = 0.25
_COMPLAIN_EVERY = 60.0


class AsgiServer(Closing):
    """Serves an ASGI application until it is closed.

    Args:
        app: behind a `Guard`.
        listening: the socket; closed with the server.
        settings: the limits.
        name: of the thread.
        websockets: whether connections may become WebSockets.
        tls: files with the certificate and its key (PEM); None: plain HTTP.

    Raises:
        OutputError: certificate or key cannot be used.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        settings: ServerSettings,
        *,
        name: str,
        websockets: bool = False,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._socket = listening
        certificate, key = (None, None) if tls is None else tls
        config = uvicorn.Config(
            app,
            http=partial(  # type: ignore[arg-type]  # is called like the class
                LimitedProtocol, settings=settings, admitted=Connections(settings)
            ),
            ws="websockets-sansio" if websockets else "none",
            ws_max_size=WEBSOCKET_BYTES,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            lifespan="off",
            log_config=None,
            log_level="critical",  # a client that is cut off at the end is no error
            access_log=False,  # it would log the token
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            server_header=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=round(settings.idle_timeout),
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:  # ssl.SSLError is one
            listening.close()
            raise OutputError(
                f"the TLS certificate {certificate} with the key {key} cannot be used: {error}"
            ) from error
        self._server = _Uvicorn(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_serve(self._server, listening)), name=name, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving; connections that stay are cut off."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class _Uvicorn(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)  # asyncio takes its number of clients at once for this, too


class LimitedProtocol(H11Protocol):
    """One connection of uvicorn's, within the limits of the server.

    A client that has not sent its request, does not send the rest of it, or does not read the
    answer is cut off. Answers may last for ever, e.g. a stream.
    """

    def __init__(
        self, *args: Any, settings: ServerSettings, admitted: Connections, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._settings = settings
        self._admitted = admitted
        self._address: str | None = None
        self._waiting = self._began = self._full = 0.0
        self._patience = settings.header_timeout
        self._received = 0
        self._upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self._admitted.admit(address):
            transport.write(REFUSED)
            transport.close()
            return
        self._address = address
        self._waiting = self.loop.time()
        self.loop.call_later(_LOOK_EVERY, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._address is not None:
            self._admitted.release(self._address)
            self._address = None

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._upgraded = True  # the other protocol has the connection; `_look` sees its end
        super().handle_websocket_upgrade(event)

    def data_received(self, data: bytes) -> None:
        if self._address is None:
            return
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._began, self._received = self.loop.time(), 0
        self._received += len(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._waiting, self._patience = self.loop.time(), self._settings.idle_timeout

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._full = 0.0

    def _look(self) -> None:
        """Cut off a client that takes too long."""
        if self._address is None:
            return
        if self._upgraded:
            if self.transport.is_closing():
                self.connection_lost(None)
            else:
                self.loop.call_later(_LOOK_EVERY, self._look)
        elif self._too_slow(self.loop.time()):
            self.transport.abort()
        else:
            self.loop.call_later(_LOOK_EVERY, self._look)

    def _too_slow(self, now: float) -> bool:
        if self._full and now - self._full > self._settings.idle_timeout:
            return True
        if self.cycle is None or self.cycle.response_complete:
            return now - self._waiting > self._patience
        allowed = self._settings.header_timeout + self._received / LEAST_BYTES_PER_SECOND
        return self.cycle.more_body and now - self._began > allowed


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(_Complaints())
    await server.serve([listening])
    # A client that reads nothing keeps bytes waiting; uvicorn leaves its connection open.
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for connection in list(server.server_state.connections):
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()
    if others:
        await asyncio.wait(others, timeout=STOP_SECONDS)
    await asyncio.sleep(0)  # a transport closes its socket in the loop's next round


class _Complaints:
    """Logs what fails in the loop, a line a minute: asyncio has many a second without room."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _COMPLAIN_EVERY
            log.warning("server: %s", context.get("exception") or context["message"])
