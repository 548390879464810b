"""The live picture for browsers: MJPEG over HTTP."""

from __future__ import annotations

import importlib.util
import logging

from ...core.addresses import Address
from ...core.config import ServerSettings
from ...core.errors import UsageError
from ...core.events import Event, SourceStateEvent
from ...core.filenames import slug
from ...core.types import FrameResult
from ...web.hosts import HostNames
from ...web.listen import listening_at
from ..base import Needs, Sink
from ..files import unused
from .views import LiveView

log = logging.getLogger(__name__)


class RestreamSink(Sink):
    """Serves a page with all sources, ``/<source>.mjpeg`` and ``/<source>.jpg``.

    A frame is drawn and encoded only while a client watches, in the server's threads, once for
    all clients. A slow client misses frames; the pipeline never waits for clients.

    Args:
        address: where to listen.
        token: what clients must present; needed unless only this machine can connect.
        settings: limits of the server.

    Raises:
        UsageError: the extra ``server`` is not installed, or the token is missing.
        OutputError: the address cannot be used.

    Attributes:
        address: where it listens, with the port that was chosen for port 0.
        views: what it serves, by label.
    """

    needs: Needs = "all"
    output = "restream"

    def __init__(
        self, address: Address, *, token: str | None = None, settings: ServerSettings | None = None
    ) -> None:
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
        # The extra `server` is needed from here on.
        from ...web.asgi import Guard
        from ...web.asgi_server import AsgiServer
        from .web import web_app

        settings = settings or ServerSettings()
        app = Guard(
            web_app(self.views),
            hosts=HostNames(address, settings.hosts),
            token=token,
            request_bytes=settings.max_request_bytes,
        )
        listening = listening_at(address, what="pictures")
        self.address = Address(address.host, listening.getsockname()[1])
        self._server = AsgiServer(app, listening, settings, name="restream")
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
        self._server.close()

    def _view(self, source: str) -> LiveView:
        view = self._by_source.get(source)
        if view is None:
            view = LiveView(source, unused(slug(source), self.views))
            self._by_source[source] = view
            self.views[view.label] = view
        return view
