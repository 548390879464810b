"""The Host header: which names a server answers to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection

from ..core.addresses import Address

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+))(?::\d{1,5})?")


class HostNames:
    """The names under which a server is asked for.

    A page of another site can give its own name our address and then read what we answer (DNS
    rebinding). Addresses are always accepted: nobody can make a name of one.

    Args:
        address: where the server listens.
        more: further names, see ``server.hosts``.
    """

    def __init__(self, address: Address, more: Collection[str] = ()) -> None:
        here = socket.gethostname().lower()
        own = {"localhost", address.host.lower(), here, f"{here.partition('.')[0]}.local"}
        self._names = own | {name.lower().rstrip(".") for name in more}

    def problem(self, header: str | None) -> str | None:
        """What is wrong with the Host header of a request, in one line; None: nothing."""
        found = _HOST.fullmatch(header or "")
        if found is None:
            return "the request has no usable Host header"
        name = (found[1] or found[2]).lower().rstrip(".")
        if name in self._names or _is_address(name):
            return None
        return f"this server is not known as {name!a}; the setting server.hosts adds names"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
