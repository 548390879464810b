"""What NVIDIA's management library says of its GPUs: names, memory, energy; nothing without it."""

from __future__ import annotations

import ctypes
from typing import Any

_OK = 0


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Nvml:
    """libnvidia-ml, which comes with the driver; its functions as NVIDIA's reference has them."""

    def __init__(self, library: str = "libnvidia-ml.so.1") -> None:
        self._devices: list[Any] = []
        try:
            self._call: Any = ctypes.CDLL(library)
        except OSError:
            return  # no driver
        if self._call.nvmlInit_v2() != _OK:
            return
        count = ctypes.c_uint()
        if self._call.nvmlDeviceGetCount_v2(ctypes.byref(count)) != _OK:
            return
        for index in range(count.value):
            device = ctypes.c_void_p()
            if self._call.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == _OK:
                self._devices.append(device)

    def __len__(self) -> int:
        """How many GPUs."""
        return len(self._devices)

    def describe(self) -> list[dict[str, Any]]:
        """Name, memory in MiB and driver of each GPU."""
        return [
            {
                "name": self._text("nvmlDeviceGetName", device),
                "memory_mb": round(self._memory(device).total / 2**20),
                "driver": self._driver(),
            }
            for device in self._devices
        ]

    def used_memory_mb(self, index: int = 0) -> float | None:
        """Memory in use on a GPU by all processes; None without that GPU."""
        if index >= len(self._devices):
            return None
        return float(self._memory(self._devices[index]).used / 2**20)

    def with_energy(self) -> list[int]:
        """GPUs that count their energy (Volta and later)."""
        return [i for i in range(len(self._devices)) if self._energy(i) is not None]

    def energy(self, index: int) -> float:
        """Joules since the driver was loaded.

        Raises:
            OSError: the counter cannot be read.
        """
        joules = self._energy(index)
        if joules is None:
            raise OSError(f"GPU {index} has no energy counter")
        return joules

    def _energy(self, index: int) -> float | None:
        millijoules = ctypes.c_ulonglong()
        status = self._call.nvmlDeviceGetTotalEnergyConsumption(
            self._devices[index], ctypes.byref(millijoules)
        )
        return millijoules.value / 1e3 if status == _OK else None

    def _memory(self, device: Any) -> _Memory:
        memory = _Memory()
        self._call.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
        return memory

    def _text(self, function: str, device: Any) -> str:
        text = ctypes.create_string_buffer(96)
        getattr(self._call, function)(device, text, ctypes.c_uint(len(text)))
        return text.value.decode(errors="replace")

    def _driver(self) -> str:
        text = ctypes.create_string_buffer(96)
        self._call.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text)))
        return text.value.decode(errors="replace")
