"""Where this was measured, free of names and paths."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from facestream.engines.devices import usable_cpus

from .energy import Meters
from .nvml import Nvml

_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp")

PACKAGES = (
    "openvino",
    "onnxruntime",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "torch",
    "facenet-pytorch",
    "opencv-python-headless",
    "opencv-python",
    "faiss-cpu",
    "faiss-gpu",
    "av",
    "numpy",
)

# Above this load per core before we begin, figures say as much of the others as of us.
_BUSY = 0.3

# Two descriptions that agree on these are of the same machine, as far as speed goes.
_SAME = ("cpu", "cpu_features", "cores", "gpus")


def describe(*, meters: Meters | None = None) -> dict[str, Any]:
    """CPU, cores, memory, system, GPUs, packages, energy counters, load at this moment."""
    fields = _fields(_CPUINFO)
    flags = fields.get("flags", fields.get("Features", "")).split()
    load = os.getloadavg()[0]
    cores = usable_cpus()
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_features": [flag for flag in _FEATURES if flag in flags],
        "cores": cores,
        "memory_gib": round(_kilobytes("MemTotal") / 2**20, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "gpus": Nvml().describe(),
        "packages": {name: found for name in PACKAGES if (found := package(name)) is not None},
        "energy_counters": list((meters or Meters()).names),
        "load_average": round(load, 2),
        "busy": load > _BUSY * cores,
    }


def available_bytes() -> int:
    """Memory that can be taken without swapping."""
    return _kilobytes("MemAvailable") * 1024


def package(name: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What makes two descriptions those of two machines, in words; none where they are alike.

    Versions of packages are not among them: they are what one compares, see `other_versions`.
    """
    told = [
        f"{name}: {old.get(name)} then, {new.get(name)} now"
        for name in _SAME
        if old.get(name) != new.get(name)
    ]
    then, now = float(old.get("memory_gib") or 0), float(new.get("memory_gib") or 0)
    if abs(then - now) > 0.1 * max(then, now):
        told.append(f"memory: {then} GiB then, {now} GiB now")
    return told


def other_versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Packages of other versions, in words."""
    then, now = dict(old.get("packages", {})), dict(new.get("packages", {}))
    then["Python"], now["Python"] = old.get("python"), new.get("python")
    return [
        f"{name} {then.get(name) or 'absent'} → {now.get(name) or 'absent'}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _fields(file: Path) -> dict[str, str]:
    """The ``key : value`` lines of a file of /proc; the last of each key."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}  # no Linux
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _kilobytes(name: str) -> int:
    words = _fields(_MEMINFO).get(name, "0 kB").split()
    return int(words[0])
