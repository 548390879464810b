"""The running system: sources, stages and sinks that turn video into sightings.

``Pipeline`` and ``Gallery`` are the way in; ``facestream.pipeline.core.types`` has the data that
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
    from .analysis import FaceAnalyzer
    from .core.config import Settings
    from .core.events import Event, Left
    from .gallery import Gallery
    from .observability.report import Report
    from .pipeline import Pipeline
    from .redaction import RedactionChoice, RedactionOptions, RedactionReport, redact
    from .sightings import SightingFilter, Sightings
    from .sightings.corrections import Corrections
    from .sightings.unknowns import Unknowns
    from .sinks.base import Sink

__all__ = [
    "Corrections",
    "Event",
    "FaceAnalyzer",
    "Gallery",
    "Left",
    "Pipeline",
    "RedactionChoice",
    "RedactionOptions",
    "RedactionReport",
    "Report",
    "Settings",
    "SightingFilter",
    "Sightings",
    "Sink",
    "Unknowns",
    "redact",
]

_HOMES = {
    "Corrections": ".sightings.corrections",
    "Event": ".core.events",
    "FaceAnalyzer": ".analysis",
    "Gallery": ".gallery",
    "Left": ".core.events",
    "Pipeline": ".pipeline",
    "RedactionChoice": ".redaction",
    "RedactionOptions": ".redaction",
    "RedactionReport": ".redaction",
    "Report": ".observability.report",
    "Settings": ".core.config",
    "SightingFilter": ".sightings",
    "Sightings": ".sightings",
    "Sink": ".sinks.base",
    "Unknowns": ".sightings.unknowns",
    "redact": ".redaction",
}


def __getattr__(name: str) -> Any:
    # Loading the networks' runtimes takes most of a second: 'facestream --help' need not wait.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
