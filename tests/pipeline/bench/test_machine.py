"""Energy counters, GPUs and the machine's description."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.pipeline.bench.energy import Meters
from facestream.pipeline.bench.machine import describe, differences
from facestream.pipeline.bench.nvml import Nvml

NO_GPU = Nvml("libthat-is-not-there.so")


def domain(folder: Path, name: str, *, joules: float, wraps: float = 100.0) -> Path:
    """A RAPL domain as Linux shows it (Documentation/power/powercap)."""
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{int(wraps * 1e6)}\n")
    (folder / "energy_uj").write_text(f"{int(joules * 1e6)}\n")
    return folder / "energy_uj"


def test_energy_is_counted_also_over_a_wrap(tmp_path: Path) -> None:
    counter = domain(tmp_path / "intel-rapl:0", "package-0", joules=95)
    domain(tmp_path / "intel-rapl:0:0", "core", joules=5)  # a part of the package
    meters = Meters(powercap=tmp_path, nvml=NO_GPU)
    assert meters.names == ("rapl:package-0",)
    before = meters.read()
    counter.write_text("98000000\n")
    assert meters.since(before) == {"rapl:package-0": pytest.approx(3)}
    counter.write_text("2000000\n")
    assert meters.since(before) == {"rapl:package-0": pytest.approx(7)}


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    meters = Meters(powercap=tmp_path / "nothing", nvml=NO_GPU)
    assert meters.names == ()
    assert meters.since(meters.read()) == {}


def test_a_counter_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    domain(tmp_path / "intel-rapl:0", "package-0", joules=1).unlink()
    assert Meters(powercap=tmp_path, nvml=NO_GPU).names == ()


def test_without_the_driver_there_is_no_gpu() -> None:
    assert len(NO_GPU) == 0
    assert NO_GPU.describe() == []
    assert NO_GPU.used_memory_mb() is None
    assert NO_GPU.with_energy() == []


def test_the_machine_is_the_same_as_itself_and_free_of_names() -> None:
    import platform

    machine = describe()
    assert differences(machine, describe()) == []
    assert machine["cores"] >= 1
    assert machine["packages"]["numpy"]
    assert platform.node() not in str(machine).split()
