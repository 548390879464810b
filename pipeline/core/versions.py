"""Versions of installed packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def facestream_version() -> str:
    """The installed version; ``unknown`` when it runs from a folder."""
    return version_of("facestream") or "unknown (not installed)"


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
