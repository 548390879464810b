"""One POST to a URL of the settings: to a checked address, within a time, without redirects."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ...sources.http_client import reason_of
from ...sources.reach import closeness
from ...sources.tls import Tls

ANSWER_BYTES = 65536
Resolve = Callable[..., list[tuple[Any, ...]]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestFailed(OSError):
    """There was no answer; says so in one line."""


@dataclass(frozen=True, slots=True)
class HookTarget:
    """Where to post to.

    Attributes:
        path: with the query.
        networks: private addresses that are allowed.
        tls: how the certificate is checked; None: plain HTTP.
    """

    host: str
    port: int
    path: str
    networks: tuple[Network, ...]
    tls: Tls | None
    timeout: float

    @classmethod
    def of(
        cls, url: str, *, networks: tuple[str, ...], allow_http: bool, tls: Tls, timeout: float
    ) -> HookTarget:
        """From a URL.

        Raises:
            ConfigError: it cannot be posted to. The message has no part of the URL.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
            host = (parts.hostname or "").encode("idna").decode("ascii")
        except (ValueError, UnicodeError):
            raise ConfigError("is no URL") from None
        if parts.scheme not in (("https", "http") if allow_http else ("https",)) or not host:
            raise ConfigError("must be an https URL (http with allow_http = true)")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("must have no login: the signature proves who sends")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii():
            raise ConfigError("write special characters as %XX")
        secure = parts.scheme == "https"
        return cls(
            host,
            port or (443 if secure else 80),
            path,
            tuple(ipaddress.ip_network(network, strict=False) for network in networks),
            tls if secure else None,
            timeout,
        )

    def allows(self, address: str) -> bool:
        """True for an address of the open network, or of one that is allowed."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        plain = getattr(ip, "ipv4_mapped", None) or ip
        if any(plain in network for network in self.networks if network.version == plain.version):
            return True
        return closeness(address) == 0 and not plain.is_multicast


def post(
    target: HookTarget,
    body: bytes,
    headers: Mapping[str, str],
    *,
    resolve: Resolve = socket.getaddrinfo,
) -> tuple[int, float | None]:
    """Post, and read the answer, of which only status and ``Retry-After`` count.

    Returns:
        The status, and the seconds after which the server wants to be asked again.

    Raises:
        RequestFailed: there was no answer within the time, or the host may not be asked.
    """
    until = time.monotonic() + target.timeout
    ends: threading.Timer | None = None
    connection: HTTPConnection | None = None
    try:
        channel = _connect(target, resolve)
        # A time limit for all of it: one for each read is none against single bytes.
        ends = threading.Timer(max(until - time.monotonic(), 0.01), _cut, (channel,))
        ends.daemon = True
        ends.start()
        if target.tls is not None:
            channel = _secured(channel, target)
            ends.args = (channel,)
        connection = HTTPConnection(target.host, target.port, timeout=target.timeout)
        connection.sock = channel
        connection.request("POST", target.path, body, dict(headers))
        answer = connection.getresponse()
        answer.read(ANSWER_BYTES)
        after = answer.headers.get("Retry-After", "")
        return answer.status, float(after) if after.isdecimal() and len(after) < 7 else None
    except (OSError, HTTPException, ValueError) as error:
        late = time.monotonic() >= until
        what: BaseException = TimeoutError() if late else error
        why = str(error) if isinstance(error, RequestFailed) else ""
        raise RequestFailed(why or reason_of(what, target.timeout, "no answer within")) from None
    finally:
        if ends is not None:
            ends.cancel()
        if connection is not None:
            connection.close()


def _connect(target: HookTarget, resolve: Resolve) -> socket.socket:
    """Resolve once, check, and connect to the very address that was checked."""
    found = resolve(target.host, target.port, type=socket.SOCK_STREAM)
    refused: OSError | None = None
    for family, kind, protocol, _, place in found:
        if not target.allows(str(place[0])):
            refused = refused or RequestFailed(
                "the host is at an address of this machine or of a private network; "
                "allow_networks would allow it"
            )
            continue
        channel = socket.socket(family, kind, protocol)
        channel.settimeout(target.timeout)
        try:
            channel.connect(place)
        except OSError as error:
            channel.close()
            refused = refused or error
        else:
            return channel
    raise refused or RequestFailed("the host has no address")


def _secured(channel: socket.socket, target: HookTarget) -> ssl.SSLSocket:
    assert target.tls is not None
    try:
        return target.tls.context().wrap_socket(channel, server_hostname=target.host)
    except BaseException:
        channel.close()
        raise


def _cut(channel: socket.socket) -> None:
    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)
