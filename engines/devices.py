"""The CUDA devices of this machine, asked of the NVIDIA driver itself.

Costs nothing where there is no driver, and loads neither torch nor TensorRT: what has to know
at a start whether there is a GPU asks here. The driver library is asked rather than NVML because
it lists what this process may use (``CUDA_VISIBLE_DEVICES``, MIG slices), in CUDA's own order;
NVML lists what is built in.
https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__DEVICE.html
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

DRIVER = "libcuda.so.1"

_SUCCESS = 0
# CUdevice_attribute
_CAPABILITY_MAJOR = 75
_CAPABILITY_MINOR = 76


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
    """What the driver says, asked once per process. Never raises."""
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
    """The driver's own name of what went wrong, and the function that said so."""


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
