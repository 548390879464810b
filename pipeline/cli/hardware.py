"""``facestream doctor``: the GPUs, the hardware decoders, and the engines that were built."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from facestream.engines.devices import driver_report

from ..core.config import load_settings
from ..sources import capability, decide
from .check_result import Finding
from .console import plural


def devices() -> Iterator[Finding]:
    """The CUDA devices that the driver lets this process use."""
    report = driver_report()
    for device in report.devices:
        yield Finding("device", f"cuda:{device.index}", "ok", str(device))
    if report.version is not None:
        newest = ".".join(map(str, report.version))
        yield Finding("device", "driver", "ok", f"supports CUDA up to {newest}")
    if report.problem is not None:
        # A CPU is enough: no failure.
        yield Finding("device", "cuda", "note", report.problem)


def decoders() -> Iterator[Finding]:
    """What decodes video, and why the rest does not."""
    found = (capability("cuda"), capability("vaapi"))
    for one in found:
        yield Finding("decoder", one.kind, "ok" if one.usable else "note", one.describe())
    chosen = decide("auto")
    yield Finding("decoder", "chosen", "ok", f"{chosen.decoder}, {chosen.reason}")


def engine_cache() -> Finding:
    """The folder of plans and verdicts, and how much lies in it."""
    folder = load_settings(environment=os.environ).runtime.serving().cache
    if folder is None or not folder.exists():
        return Finding("engines", "cache", "ok", f"{folder}, empty")
    sizes = [size for size in map(_size, folder.rglob("*")) if size is not None]
    held = f"{plural(len(sizes), 'file')}, {sum(sizes) / 2**20:.1f} MiB"
    return Finding("engines", "cache", "ok", f"{folder}, {held}")


def _size(path: Path) -> int | None:
    """Bytes of a file; None of what is none, or went away meanwhile."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
