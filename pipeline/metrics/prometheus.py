"""A run's metrics over HTTP, in the format that Prometheus scrapes."""

from __future__ import annotations

import logging

from facestream.engines.closing import Closing
from prometheus_client import start_http_server

from ..core.addresses import Address
from ..core.errors import OutputError
from .store import Metrics

log = logging.getLogger(__name__)


class MetricsServer(Closing):
    """Serves the metrics of a run at ``http://HOST:PORT/metrics`` until it is closed.

    Raises:
        OutputError: the address cannot be used.
    """

    def __init__(self, metrics: Metrics, address: Address) -> None:
        try:
            self._server, self._thread = start_http_server(
                address.port, addr=address.host, registry=metrics.registry
            )
        except OSError as error:
            raise OutputError(
                f"cannot serve metrics at {address}: {error.strerror}; choose another address"
            ) from error
        self.address = Address(address.host, self._server.server_port)
        log.info("metrics at http://%s/metrics", self.address)

    def close(self) -> None:
        """Stop serving; may be repeated."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
