"""Where frames come from: video files, pictures, cameras, network streams, standard input."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import SourceError
from .base import (
    DEFAULTS,
    Clock,
    Kind,
    Source,
    SourceInfo,
    SourceOptions,
    SourceSpec,
)
from .camera import CameraSource
from .expand import IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand_sources
from .file import FileSource
from .hardware import (
    BY_CPU,
    Decode,
    DecodedBy,
    Decoding,
    FallbackReason,
    capability,
    decide,
)
from .images import ImagesSource
from .stdin import StdinSource
from .url import UrlSource

__all__ = [
    "BY_CPU",
    "DEFAULTS",
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "CameraSource",
    "Clock",
    "Decode",
    "DecodedBy",
    "Decoding",
    "FallbackReason",
    "FileSource",
    "ImagesSource",
    "Kind",
    "Source",
    "SourceInfo",
    "SourceOptions",
    "SourceSpec",
    "StdinSource",
    "UrlSource",
    "capability",
    "decide",
    "expand_sources",
    "open_source",
]


def open_source(spec: SourceSpec | str | Path, options: SourceOptions = DEFAULTS) -> Source:
    """Open one source; close it, or use it in a ``with`` block.

    Args:
        spec: from ``expand_sources``, or anything that it takes and that is a single source.
        options: how to read it.

    Raises:
        SourceError: it is missing, cannot be opened, holds nothing that can be decoded, or is
            several sources.
    """
    if not isinstance(spec, SourceSpec):
        found = expand_sources([spec])
        if len(found) > 1:
            raise SourceError(f"{spec} is {len(found)} sources; use expand_sources, open each")
        spec = found[0]
    if spec.kind == "video":
        return FileSource(spec, options)
    if spec.kind == "images":
        return ImagesSource(spec, options)
    if spec.kind == "camera":
        return CameraSource(spec, options)
    if spec.kind == "stdin":
        return StdinSource(spec, options)
    return UrlSource(spec, options)
