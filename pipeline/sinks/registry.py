"""Sinks of other packages, by name.

A package offers one by an entry point of the group ``facestream.sinks``; a program registers one
with ``SINKS.register``. ``docs/extending.md`` has an example. Those of facestream itself are
opened in ``outputs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from ..core.errors import OutputError, UsageError
from ..core.registry import Registry
from .base import Sink

SINKS: Registry[[str, Mapping[str, str]], Sink] = Registry(
    "sink", "facestream.sinks", error=OutputError
)
"""A factory makes a sink from its address (``kafka://host:9092/topic``) and the options behind its
``?``."""


def open_sink(spec: str) -> Sink:
    """Open the sink that ``NAME:ADDRESS?option=value&…`` stands for.

    Raises:
        OutputError: there is none of that name, or its package or the sink itself cannot be used.
    """
    name, colon, _ = spec.partition(":")
    if not colon or re.fullmatch(r"[A-Za-z][A-Za-z0-9+._-]*", name) is None:
        raise OutputError("a sink is given as NAME:ADDRESS, e.g. kafka://host:9092/topic")
    address, _, query = spec.partition("?")
    factory = SINKS.load(name)
    try:
        sink = factory(address, dict(parse_qsl(query, keep_blank_values=True)))
    except UsageError:
        raise
    except Exception as error:
        raise OutputError(
            f"cannot open the sink {name!r}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(sink, Sink):
        raise OutputError(f"the factory of the sink {name!r} returned a {type(sink).__name__}")
    sink.output = sink.output or name
    return sink
