"""Versions of what is installed, and the processor."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def facestream_version() -> str:
    """The installed version; ``unknown`` when it runs from a folder."""
    return version_of("facestream") or "unknown (not installed)"


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def processor() -> tuple[str, frozenset[str]]:
    """The model of the CPU and the features that Linux reports, e.g. ``avx2``."""
    cpu = proc_fields("cpuinfo")
    model = cpu.get("model name") or platform.processor() or platform.machine()
    return model, frozenset(cpu.get("flags", cpu.get("Features", "")).split())


def proc_fields(name: str) -> dict[str, str]:
    """The ``key: value`` lines of a file of /proc; empty where it does not exist."""
    try:
        text = Path("/proc", name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
