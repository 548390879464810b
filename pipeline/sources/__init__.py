"""Where frames come from: video files, pictures, cameras, network streams, standard input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..core.errors import SourceError
from ..core.redact import shown_source
from .base import (
    DEFAULTS,
    BaseSource,
    Kind,
    Picture,
    Source,
    SourceInfo,
    SourceOpener,
    SourceOptions,
    SourceSpec,
)
from .camera import CameraSource
from .expand import distinct_sources, expand_sources, file_source, readable_files
from .file import FileSource
from .hardware import BY_CPU, DecodedBy, Decoding, FallbackReason, capability, decide
from .images import ImagesSource
from .registry import find_opener
from .stdin import StdinSource
from .tls import Tls
from .url import open_url, served_file

__all__ = [
    "BY_CPU",
    "DEFAULTS",
    "BaseSource",
    "DecodedBy",
    "Decoding",
    "FallbackReason",
    "FileSource",
    "ImagesSource",
    "Picture",
    "Source",
    "SourceInfo",
    "SourceOpener",
    "SourceOptions",
    "SourceSpec",
    "StdinSource",
    "Tls",
    "capability",
    "decide",
    "distinct_sources",
    "expand_sources",
    "file_source",
    "open_built_in",
    "open_source",
    "readable_files",
    "served_file",
]

_OPENERS: Mapping[Kind, SourceOpener] = {
    "video": FileSource,
    "images": ImagesSource,
    "camera": CameraSource,
    "stdin": StdinSource,
    "url": open_url,
}


def open_source(spec: SourceSpec | str | Path, options: SourceOptions = DEFAULTS) -> Source:
    """Open one source; close it, or use it in a ``with`` block.

    Args:
        spec: from ``expand_sources``, or an argument of it that stands for a single source.

    Raises:
        SourceError: it is missing, cannot be opened, holds nothing that can be decoded, or is
            several sources.
    """
    if not isinstance(spec, SourceSpec):
        found = expand_sources([spec])
        if len(found) > 1:
            raise SourceError(
                f"{shown_source(str(spec))} is {len(found)} sources; use expand_sources, open each"
            )
        spec = found[0]
    opener = find_opener(spec.location) if spec.kind == "url" else None
    return opener(spec, options) if opener is not None else open_built_in(spec, options)


def open_built_in(spec: SourceSpec, options: SourceOptions = DEFAULTS) -> Source:
    """Like `open_source`, by no opener of another package."""
    return _OPENERS[spec.kind](spec, options)
