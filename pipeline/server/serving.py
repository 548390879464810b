"""The service, listening."""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from facestream.engines.closing import Closing

from ..core.addresses import Address
from ..core.config import Settings
from ..core.errors import ConfigError, UsageError
from ..web.asgi_server import AsgiServer
from ..web.descriptors import fitting, raise_descriptor_limit
from ..web.listen import listening_at
from .app import create_app
from .service import Service

log = logging.getLogger(__name__)


class ServiceServer(Closing):
    """Opens the service, serves it and runs the cameras until it is closed.

    Args:
        settings: with cameras and limits.
        address: where to listen.
        tls: files with the certificate and its key; None: plain HTTP.

    Raises:
        UsageError: others can reach the address and nobody needs a key; a setting, or the
            address, cannot be used.
        GalleryError: the database cannot be used.
        EngineError: the networks cannot run here.

    Attributes:
        address: where it listens, with the port that was chosen for port 0.
        service: what it serves.
    """

    def __init__(
        self, settings: Settings, address: Address, *, tls: tuple[Path, Path] | None = None
    ) -> None:
        _check_proxies(settings.server.proxies)
        with ExitStack() as stack:
            listening = listening_at(address, what="the service")
            stack.callback(listening.close)
            self.address = Address(address.host, listening.getsockname()[1])
            self.url = f"http{'' if tls is None else 's'}://{self.address}"
            limits = fitting(
                settings.server,
                raise_descriptor_limit(),
                sources=len(settings.cameras) + 1,
                outputs=4,
                servers=1,
            )
            settings = settings.model_copy(update={"server": limits})
            self.service = stack.enter_context(Service(settings, self.address))
            if tls is None and not address.loopback:
                log.warning("%s: keys travel unencrypted; see --tls-cert, or use a proxy", self.url)
            server = AsgiServer(
                create_app(self.service), listening, limits, name="serve", websockets=True, tls=tls
            )
            stack.enter_context(server)
            stack.callback(self.service.events.close)  # ends the streams, before the server
            self.service.cameras.start()
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Stop listening, end the streams, stop the cameras, close the database."""
        self._resources.close()


def need_packages() -> None:
    """Raises UsageError where the extra ``server`` is not installed."""
    for module, package in (
        ("fastapi", "fastapi"),
        ("uvicorn", "uvicorn"),
        ("python_multipart", "python-multipart"),
        ("websockets", "websockets"),
        ("argon2", "argon2-cffi"),
        ("jinja2", "jinja2"),
    ):
        if importlib.util.find_spec(module) is None:
            raise UsageError(
                f"serve needs {package}, which is not installed: pip install 'facestream[server]'"
            )


def notify_systemd(state: str) -> None:
    """Tell systemd, where it asked for it (``Type=notify``), e.g. ``READY=1``."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where[:1] not in ("/", "@"):
        return
    place = "\0" + where[1:] if where.startswith("@") else where
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(place)
        client.sendall(state.encode())


def _check_proxies(proxies: tuple[str, ...]) -> None:
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError as error:
            raise ConfigError(
                f"server.proxies: {proxy!r} is neither an address nor a network such as 10.0.0.0/8"
            ) from error
