"""Sockets that listen."""

from __future__ import annotations

import socket

from ..core.addresses import Address
from ..core.errors import OutputError

BACKLOG = 128
"""Clients that the system lets wait to be accepted; they take no descriptors."""


def listening_at(address: Address, *, what: str) -> socket.socket:
    """A socket that listens; ``what`` is served there, for the message.

    Raises:
        OutputError: the address cannot be used.
    """
    try:
        family, *_, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise OutputError(
            f"cannot serve {what} at {address}: {error.strerror}; choose another address"
        ) from error
    return listening
