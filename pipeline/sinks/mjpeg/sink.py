"""The live picture for browsers: MJPEG over HTTP."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import threading
from typing import TYPE_CHECKING

from ...core.addresses import Address
from ...core.errors import OutputError, UsageError
from ...core.events import Event, SourceStateEvent
from ...core.filenames import slug
from ...core.types import FrameResult
from ..base import Needs, Sink
from ..files import unused
from .views import LiveView

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

STOP_SECONDS = 1
"""How long a client may take to notice the end."""


class RestreamSink(Sink):
    """Serves a page with all sources, ``/<source>.mjpeg`` and ``/<source>.jpg``.

    A frame is drawn and encoded only while a client watches, in the server's threads, once for
    all clients. A slow client misses frames; the pipeline never waits for clients.

    Args:
        address: where to listen.
        token: what clients must present; needed unless only this machine can connect.

    Raises:
        UsageError: the extra ``server`` is not installed, or the token is missing.
        OutputError: the address cannot be used.

    Attributes:
        address: where it listens, with the port that was chosen for port 0.
        views: what it serves, by label.
    """

    needs: Needs = "all"

    def __init__(self, address: Address, *, token: str | None = None) -> None:
        for package in ("fastapi", "uvicorn"):
            if importlib.util.find_spec(package) is None:
                raise UsageError(
                    f"--restream needs {package}, which is not installed: "
                    "pip install 'facestream[server]'"
                )
        if token is None and not address.loopback:
            raise UsageError(
                f"--restream {address}: other machines can connect, so a token is needed: "
                "give --restream-token or FACESTREAM_RESTREAM_TOKEN"
            )
        self.views: dict[str, LiveView] = {}
        self._by_source: dict[str, LiveView] = {}
        self._socket = _listen(address)
        self.address = Address(address.host, self._socket.getsockname()[1])
        self._server = self._start(address, token)
        log.info("live pictures at http://%s/", self.address)

    def write(self, result: FrameResult) -> None:
        self._view(result.frame.source).offer(result)

    def event(self, event: Event) -> None:
        if isinstance(event, SourceStateEvent):
            self._view(event.source).state = event.state

    def source_ended(self, source: str) -> None:
        self._view(source).end()

    def close(self) -> None:
        for view in self._by_source.values():
            view.end()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _view(self, source: str) -> LiveView:
        view = self._by_source.get(source)
        if view is None:
            view = LiveView(source, unused(slug(source), self.views))
            self._by_source[source] = view
            self.views[view.label] = view
        return view

    def _start(self, address: Address, token: str | None) -> uvicorn.Server:
        """Run uvicorn in a thread of its own."""
        import uvicorn

        from .web import Guard, web_app

        local = frozenset({"localhost", "127.0.0.1", "::1", address.host.lower()})
        app = Guard(web_app(self.views), token=token, hosts=local if token is None else None)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",  # a client that is cut off at the end is no error
            access_log=False,  # it would log the token
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
            server_header=False,
        )
        server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_serve(server, self._socket)), name="restream", daemon=True
        )
        self._thread.start()
        return server


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
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


def _listen(address: Address) -> socket.socket:
    try:
        family, *_, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen()
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise OutputError(
            f"cannot serve pictures at {address}: {error.strerror}; choose another address"
        ) from error
    return listening
