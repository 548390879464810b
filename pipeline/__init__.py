"""The running system: sources, stages and sinks that turn video into sightings.

``Pipeline`` and ``Gallery`` are the way in; ``facestream.pipeline.types`` has the data that
comes out.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "facestream.pipeline":
    raise ImportError(
        "import this package as 'facestream.pipeline' (install it with 'pip install .'); "
        "the folder name alone is not importable on purpose"
    )

if TYPE_CHECKING:
    from .config import Settings
    from .events import Event, Left
    from .gallery import Gallery
    from .pipeline import Pipeline
    from .report import Report
    from .sinks.base import Sink

__all__ = ["Event", "Gallery", "Left", "Pipeline", "Report", "Settings", "Sink"]

_HOMES = {
    "Event": ".events",
    "Gallery": ".gallery",
    "Left": ".events",
    "Pipeline": ".pipeline",
    "Report": ".report",
    "Settings": ".config",
    "Sink": ".sinks.base",
}


def __getattr__(name: str) -> Any:
    # Loading the networks' runtimes takes most of a second: 'facestream --help' need not wait.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
