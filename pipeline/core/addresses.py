"""Addresses of servers, as the user writes them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from .errors import UsageError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; 0 is any free port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, flag: str) -> Address:
        """From ``[HOST]:PORT`` or ``PORT``, e.g. ``[::1]:9109``; by default the loopback address.

        Raises:
            UsageError: it is not an address; names ``flag``, the option that was given.
        """
        host, _, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise UsageError(f"{flag} {text}: write an IPv6 address as [::1]:{port}")
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise UsageError(f"{flag} {text}: want [HOST]:PORT, e.g. :9109 or 0.0.0.0:9109")
        return cls(host or LOOPBACK, int(port))

    @property
    def loopback(self) -> bool:
        """True when only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
