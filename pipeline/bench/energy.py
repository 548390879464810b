"""Energy by the machine's own counters: RAPL of the CPU, NVML of NVIDIA's GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .nvml import Nvml

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class _Rapl:
    """A RAPL domain: microjoules that wrap at ``wraps``."""

    name: str
    file: Path
    wraps: int

    def read(self) -> int:
        return int(self.file.read_text(encoding="ascii"))


class Meters:
    """The counters that this machine lets us read; they count for the whole machine.

    Whole packages only: their parts (``core``, ``uncore``) are in them already.
    """

    def __init__(self, *, powercap: Path = POWERCAP, nvml: Nvml | None = None) -> None:
        self._rapl = _domains(powercap)
        self._nvml = Nvml() if nvml is None else nvml

    @property
    def names(self) -> tuple[str, ...]:
        """E.g. ``("rapl:package-0", "nvml:0")``; empty where there is no counter."""
        gpus = (f"nvml:{index}" for index in self._nvml.with_energy())
        return (*(domain.name for domain in self._rapl), *gpus)

    def read(self) -> dict[str, float]:
        """Joules so far, since a beginning that is each counter's own."""
        joules = {domain.name: domain.read() / 1e6 for domain in self._rapl}
        for index in self._nvml.with_energy():
            joules[f"nvml:{index}"] = self._nvml.energy(index)
        return joules

    def since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Joules by counter since ``read`` gave ``before``; a counter may wrap once."""
        wraps = {domain.name: domain.wraps / 1e6 for domain in self._rapl}
        spent = {}
        for name, now in self.read().items():
            passed = now - before[name]
            spent[name] = passed if passed >= 0 else passed + wraps.get(name, 0.0)
        return spent


def _domains(powercap: Path) -> list[_Rapl]:
    found = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") != 1:
            continue
        try:
            name = (folder / "name").read_text(encoding="ascii").strip()
            wraps = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
            domain = _Rapl(f"rapl:{name}", folder / "energy_uj", wraps)
            domain.read()
        except (OSError, ValueError):
            continue  # since Linux 5.10 only root may read it
        found.append(domain)
    return found
