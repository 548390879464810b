"""File descriptors: how many the run needs for itself, and how many are left for clients."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

from ..core.config import ServerSettings

log = logging.getLogger(__name__)

FOR_THE_PROGRAM = 48
"""Libraries, networks while they load, the gallery with its journal, the log, event loops."""
PER_SOURCE = 10
"""A connection and one that is abandoned, playlists, the open video segment, a finished one that is
rewritten."""
PER_OUTPUT = 4
"""The file, its lock, and a temporary file."""
PER_SERVER = 12
"""Clients that are accepted before they are refused: those of three rounds of asyncio's loop."""
LEAST_CONNECTIONS = 4
_ENOUGH = 65536


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit to the hard one, as Go and Java do; returns the limit.

    Nothing here waits with ``select()`` for descriptors above 1023.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a sandbox forbids it
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def fitting(
    settings: ServerSettings, limit: int, *, sources: int, outputs: int, servers: int
) -> ServerSettings:
    """The settings of each server with as many connections as the limit leaves room for.

    The pipeline's own descriptors are reserved: clients cannot take the last one.

    Args:
        settings: as they were chosen.
        limit: descriptors of this process.
        sources: of the run.
        outputs: of the run.
        servers: among which the rest is shared.
    """
    if not servers:
        return settings
    reserved = FOR_THE_PROGRAM + PER_SOURCE * sources + PER_OUTPUT * outputs
    room = (limit - reserved) // servers - PER_SERVER
    if room < min(settings.max_connections, LEAST_CONNECTIONS):
        needed = reserved + servers * (settings.max_connections + PER_SERVER)
        log.warning(
            "this process may open %d files, which is too few for %d sources: 'ulimit -n %d'",
            *(limit, sources, needed),
        )
        room = LEAST_CONNECTIONS
    connections = min(settings.max_connections, room)
    return settings.model_copy(
        update={
            "max_connections": connections,
            # One client must not keep the others out.
            "max_connections_per_client": min(
                settings.max_connections_per_client, max(connections * 3 // 4, 1)
            ),
        }
    )
