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

from ..core.networks import AddressRules, embedded
from ..core.redact import UrlParts

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
    ip = embedded(ip) or ip
    if ip.is_loopback or ip.is_unspecified:
        return 3
    return 2 if ip.is_link_local else 1 if not ip.is_global else 0


_HERE = 3


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int
    address: str


class Reach:
    """The limits of one source; see `allow` and `connect`.

    Args:
        rules: which addresses it may lead to; None: any, where the user named it.
    """

    def __init__(self, rules: AddressRules | None = None) -> None:
        self._rules = rules
        self._first: _Place | None = None  # where the user's URL led to

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
            ReachError: the address is closer to this machine than the first, another service of
                this machine, or another device of a private network.
        """
        refused: OSError | None = None
        host, port = address
        for family, kind, protocol, _, place in socket.getaddrinfo(
            *address, type=socket.SOCK_STREAM
        ):
            try:
                found = _Place(host, port, str(place[0]))
                self._check(found)
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
                self._first = self._first or found
                return channel
        raise refused or OSError("the host has no address")

    def check_name(self, origin: Origin) -> None:
        """The same check where a proxy connects, as far as the name is known here."""
        with suppress(socket.gaierror):
            entries = socket.getaddrinfo(origin.host, None)
            found = [_Place(origin.host, origin.port, str(entry[4][0])) for entry in entries]
            for place in found:
                self._check(place)
            self._first = self._first or max(found, key=lambda place: closeness(place.address))

    def _check(self, place: _Place) -> None:
        if self._rules is not None and not self._rules.allow(place.address):
            raise ReachError("it leads to an address that live.networks does not allow")
        first = self._first
        if first is None:
            return
        near = closeness(place.address)
        if near > closeness(first.address):
            raise ReachError(
                "it leads to an address of this machine or of a private network, from one that "
                "is not there itself"
            )
        if near == _HERE and place.port != first.port:
            raise ReachError(
                "it leads to another port of this machine; give that URL if it is meant"
            )
        same = place.address == first.address or place.host == first.host
        if 0 < near < _HERE and not same:
            raise ReachError(
                "it leads to another device of the private network; give that URL if it is meant"
            )


def pinned(url: str, rules: AddressRules, *, replace_name: bool) -> str:
    """The URL, whose host has only addresses that are allowed.

    Args:
        replace_name: put the address in place of the name, so that it is not resolved once more,
            maybe to another one.

    Raises:
        ReachError: an address of it is not allowed. OSError: the name has none.
    """
    parts = UrlParts.split(url)
    origin = Origin.of(url)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(origin.host, None)]
    for address in found:
        if not rules.allow(address):
            raise ReachError("it leads to an address that live.networks does not allow")
    if not replace_name or not found:
        return url
    host = f"[{found[0]}]" if ":" in found[0] else found[0]
    return url.replace(f"{parts.user}{parts.host}", f"{parts.user}{host}:{origin.port}", 1)
