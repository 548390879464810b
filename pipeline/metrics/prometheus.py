"""A run's metrics over HTTP, in the format that Prometheus scrapes."""

from __future__ import annotations

import logging
from email.message import Message
from typing import Any

from facestream.engines.closing import Closing
from prometheus_client import make_wsgi_app

from ..core.addresses import Address
from ..core.config import ServerSettings
from ..web.hosts import HostNames
from ..web.listen import listening_at
from ..web.threaded_server import ThreadedServer
from .store import Metrics

log = logging.getLogger(__name__)


class MetricsServer(Closing):
    """Serves the metrics of a run at ``http://HOST:PORT/metrics`` until it is closed.

    Args:
        metrics: of the run.
        address: where to listen.
        settings: limits of the server.

    Raises:
        OutputError: the address cannot be used.
    """

    def __init__(
        self, metrics: Metrics, address: Address, settings: ServerSettings | None = None
    ) -> None:
        settings = settings or ServerSettings()
        self._app = make_wsgi_app(metrics.registry)
        listening = listening_at(address, what="metrics")
        self.address = Address(address.host, listening.getsockname()[1])
        hosts = HostNames(address, settings.hosts)
        self._server = ThreadedServer(self._answer, listening, settings, hosts, name="metrics")
        log.info("metrics at http://%s/metrics", self.address)

    def close(self) -> None:
        """Stop serving; may be repeated."""
        self._server.close()

    def _answer(self, path: str, headers: Message) -> tuple[dict[str, str], bytes]:
        where, _, query = path.partition("?")
        request = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": where,
            "QUERY_STRING": query,
            "HTTP_ACCEPT": headers.get("accept", ""),
            "HTTP_ACCEPT_ENCODING": headers.get("accept-encoding", ""),
        }
        found: dict[str, str] = {}

        def start(status: str, items: list[tuple[str, str]], *rest: Any) -> Any:
            found.update(items)

        return found, b"".join(self._app(request, start))
