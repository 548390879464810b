"""The CPUs and CUDA devices that this process may use.

CUDA devices are listed by the NVIDIA driver library: no cost where there is no driver, and neither
torch nor TensorRT is loaded. NVML would list all installed devices; the driver lists those this
process may use (``CUDA_VISIBLE_DEVICES``, MIG slices), in CUDA's own order.
https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DRIVER = "libcuda.so.1"

_SUCCESS = 0
# CUdevice_attribute
_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs this process may keep busy: its affinity, limited by its cgroups' quota, rounded up.

    ``root`` is the file system's; tests pass a folder with files like ``/proc``'s and cgroup's.
    """
    cpus = len(os.sched_getaffinity(0))
    return max(1, min([cpus, *(math.ceil(quota) for quota in _cpu_quotas(root))]))


def _cpu_quotas(root: Path) -> Iterator[float]:
    """CPU quotas of the process's cgroups and all cgroups above, in CPUs (cgroups(7))."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2, beside version 1 under "unified"
            places = [mounts, mounts / "unified"]
        elif "cpu" in controllers.split(","):
            places = [mounts / controllers, mounts / "cpu"]
        else:
            continue
        # In a container the path may be the host's: then only the upper folders exist.
        inner = Path(path.lstrip("/"))
        for place in places:
            for folder in (place / inner, *(place / parent for parent in inner.parents)):
                yield from _cpu_quota(folder)


def _cpu_quota(folder: Path) -> Iterator[float]:
    """The quota of one cgroup; nothing where it has none."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in names for word in (folder / name).read_text().split()]
            quota, period = (int(word) for word in words)
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A device the driver lets this process use.

    Attributes:
        index: as in ``cuda:0``.
        name: e.g. ``NVIDIA GeForce RTX 3060``.
        capability: compute capability, major and minor, e.g. ``(8, 6)``.
        memory: bytes in all.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def architecture(self) -> str:
        """``sm86``: what plans and kernels are built for."""
        return f"sm{self.capability[0]}{self.capability[1]}"

    def __str__(self) -> str:
        return f"{self.name} ({self.architecture}, {self.memory / 2**30:.0f} GiB)"


@dataclass(frozen=True, slots=True)
class DriverReport:
    """What the driver answered.

    Attributes:
        devices: usable ones; empty where there is none.
        version: the newest CUDA the driver supports, e.g. ``(13, 0)``; None without a driver.
        problem: why there are no devices, in a few words; None where there are.
    """

    devices: tuple[CudaDevice, ...] = ()
    version: tuple[int, int] | None = None
    problem: str | None = None


def cuda_devices() -> list[CudaDevice]:
    """The CUDA devices this process may use; empty where there is no driver or no device."""
    return list(driver_report().devices)


@cache
def driver_report() -> DriverReport:
    """The driver's report, requested once per process. Never raises."""
    return ask_driver(DRIVER)


def ask_driver(library: str) -> DriverReport:
    """Ask the driver library of this name or path. Never raises."""
    try:
        driver = _load(library)
    except (OSError, AttributeError) as error:
        reason = "is not there" if "No such file" in str(error) else f"does not load ({error})"
        return DriverReport(problem=f"no NVIDIA driver: {library} {reason}")
    try:
        _call(driver, "cuInit", ctypes.c_uint(0))
        version = _integer(driver, "cuDriverGetVersion")
        count = _integer(driver, "cuDeviceGetCount")
        devices = tuple(_device(driver, index) for index in range(count))
    except _DriverError as error:
        return DriverReport(problem=f"the NVIDIA driver answers {error}")
    found = (version // 1000, version % 1000 // 10)
    problem = None if devices else "the NVIDIA driver has no device for this process"
    return DriverReport(devices, found, problem)


class _DriverError(Exception):
    """The driver's name of the error, and the function that returned it."""


_FUNCTIONS = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
)


def _load(library: str) -> Any:
    driver = ctypes.CDLL(library)
    for name in _FUNCTIONS:
        getattr(driver, name)  # a library that lacks one is no driver
    return driver


def _call(driver: Any, name: str, *arguments: Any) -> None:
    code = getattr(driver, name)(*arguments)
    if code != _SUCCESS:
        raise _DriverError(f"{_error_name(driver, code)} to {name}")


def _integer(driver: Any, name: str, *arguments: Any) -> int:
    """The integer a function writes through its first argument."""
    value = ctypes.c_int(0)
    _call(driver, name, ctypes.byref(value), *arguments)
    return value.value


def _device(driver: Any, index: int) -> CudaDevice:
    handle = ctypes.c_int(_integer(driver, "cuDeviceGet", ctypes.c_int(index)))
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGetName", name, ctypes.c_int(len(name)), handle)
    memory = ctypes.c_size_t(0)
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
    major, minor = (
        _integer(driver, "cuDeviceGetAttribute", ctypes.c_int(attribute), handle)
        for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
    )
    return CudaDevice(index, name.value.decode(errors="replace"), (major, minor), memory.value)


def _error_name(driver: Any, code: int) -> str:
    text = ctypes.c_char_p()
    name = getattr(driver, "cuGetErrorName", None)
    if name is None or name(ctypes.c_int(code), ctypes.byref(text)) != _SUCCESS or not text.value:
        return f"error {code}"
    return text.value.decode(errors="replace")
