"""Sinks of other packages, by name.

A package offers one by an entry point of the group ``facestream.sinks``; a program registers one
with `register_sink`. ``docs/extending.md`` has an example. Those of facestream itself are opened
in ``outputs.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from urllib.parse import parse_qsl

from ..core.errors import OutputError, UsageError
from .base import Sink

GROUP = "facestream.sinks"

SinkFactory = Callable[[str, Mapping[str, str]], Sink]
"""Makes a sink from its address (``kafka://host:9092/topic``) and the options behind its ``?``."""

_registered: dict[str, SinkFactory] = {}


def register_sink(name: str, factory: SinkFactory) -> None:
    """Make a sink known under this name for the rest of the process."""
    _registered[name] = factory


def open_sink(spec: str) -> Sink:
    """Open the sink that ``NAME:ADDRESS?option=value&…`` stands for.

    Raises:
        OutputError: there is none of that name, or its package or the sink itself cannot be used.
    """
    name, colon, _ = spec.partition(":")
    if not colon or re.fullmatch(r"[A-Za-z][A-Za-z0-9+._-]*", name) is None:
        raise OutputError("a sink is given as NAME:ADDRESS, e.g. kafka://host:9092/topic")
    address, _, query = spec.partition("?")
    factory = _registered.get(name) or _loaded(name)
    try:
        sink = factory(address, dict(parse_qsl(query, keep_blank_values=True)))
    except UsageError:
        raise
    except Exception as error:
        raise OutputError(f"cannot open the sink {name!r}: {_said(error)}") from error
    if not isinstance(sink, Sink):
        raise OutputError(f"the factory of the sink {name!r} returned a {type(sink).__name__}")
    return sink


def _loaded(name: str) -> SinkFactory:
    offered = {point.name: point for point in entry_points(group=GROUP)}
    if name not in offered:
        known = ", ".join(sorted({*offered, *_registered})) or "none is installed"
        raise OutputError(f"there is no sink {name!r} ({known}); install the package that has it")
    try:
        factory: SinkFactory = offered[name].load()
    except Exception as error:
        raise OutputError(
            f"cannot load the sink {name!r} of {_package(offered[name])}: {_said(error)}"
        ) from error
    return factory


def _package(point: EntryPoint) -> str:
    return point.value if point.dist is None else point.dist.name


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
