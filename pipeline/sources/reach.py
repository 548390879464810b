"""Where the requests of one source may go: logins to their own origin, redirects to equal places.

What a camera or a playlist names is not what the user named. A server in the open network could
otherwise make this machine ask its own services, or devices beside it.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}


class ReachError(OSError):
    """A redirect or a playlist names a place that it may not; says so in one line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: a login is valid for one of them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Of a URL.

        Raises:
            ValueError: it names no host, or no port where its scheme has no usual one.
        """
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        port = parts.port or PORTS.get(scheme)
        if not parts.hostname or port is None:
            raise ValueError("a URL needs a host")
        return cls(scheme, parts.hostname, port)


def closeness(address: str) -> int:
    """0 of the open network, 1 of a private one, 2 of the same cable, 3 of this machine."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_unspecified:
        return 3
    return 2 if ip.is_link_local else 1 if not ip.is_global else 0


class Reach:
    """The limits of one source; see `allow` and `connect`."""

    def __init__(self) -> None:
        self._closest: int | None = None  # of the address that the user's URL led to

    def allow(self, url: str, *, origin: str) -> None:
        """Check a URL that a server named.

        Args:
            origin: the URL whose answer named it.

        Raises:
            ReachError: it is not HTTP, or HTTP after HTTPS.
        """
        scheme = url.partition(":")[0].lower()
        if scheme not in {"http", "https"}:
            raise ReachError(f"it refers to a URL of another kind ({scheme[:20]!r}), not HTTP")
        if scheme == "http" and origin.lower().startswith("https:"):
            raise ReachError("it leads from https to http; give the http URL if that is meant")

    def connect(
        self, address: tuple[str, int], timeout: float, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """Like ``socket.create_connection``; the first address sets the limit for later ones.

        Raises:
            ReachError: the address is closer to this machine than the first.
        """
        refused: OSError | None = None
        for family, kind, protocol, _, place in socket.getaddrinfo(
            *address, type=socket.SOCK_STREAM
        ):
            try:
                self._check(str(place[0]))
                channel = socket.socket(family, kind, protocol)
                try:
                    channel.settimeout(timeout)
                    if source is not None:
                        channel.bind(source)
                    channel.connect(place)
                except BaseException:
                    channel.close()
                    raise
            except OSError as error:
                refused = refused or error
            else:
                self._closest = self._limit(str(place[0]))
                return channel
        raise refused or OSError("the host has no address")

    def check_name(self, host: str) -> None:
        """The same check where a proxy connects, as far as the name is known here."""
        with suppress(socket.gaierror):
            found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None)]
            for address in found:
                self._check(address)
            self._closest = max(map(self._limit, found))

    def _limit(self, address: str) -> int:
        return closeness(address) if self._closest is None else self._closest

    def _check(self, address: str) -> None:
        if closeness(address) > self._limit(address):
            raise ReachError(
                "it leads to an address of this machine or of a private network, from one that "
                "is not there itself"
            )
