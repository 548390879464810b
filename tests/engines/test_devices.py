"""What the driver answers, asked through a stub driver that is compiled here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from facestream.engines import devices
from facestream.engines.devices import (
    CudaDevice,
    ask_driver,
    cuda_devices,
    driver_report,
    usable_cpus,
)

# The functions of libcuda.so.1 that are called, for machines that have none. No GPU is behind it.
STUB = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index + 7; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    if (NAME) return NAME;
    strncpy(name, device == 7 ? "Stub 3060" : "Stub 5090", length);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute == 75) *value = device == 7 ? 8 : 12;
    else if (attribute == 76) *value = device == 7 ? 6 : 0;
    else return 1;
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)12 << 30; return 0; }
int cuGetErrorName(int error, const char **name) {
    *name = error == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return error == 100 ? 0 : 1;
}
"""


@pytest.fixture(scope="session")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("needs a C compiler for the stub driver")
    return found


def stub(
    folder: Path, compiler: str, *, init: int = 0, count: int = 2, name: int = 0, text: str = STUB
) -> str:
    source, library = folder / "stub.c", folder / "libstub.so"
    source.write_text(text)
    values = [f"-DINIT={init}", f"-DCOUNT={count}", f"-DNAME={name}"]
    subprocess.run(
        [compiler, "-shared", "-fPIC", *values, "-o", str(library), str(source)], check=True
    )
    return str(library)


def test_what_a_driver_lists(tmp_path: Path, compiler: str) -> None:
    report = ask_driver(stub(tmp_path, compiler))
    assert report.problem is None
    assert report.version == (13, 2)
    assert report.devices == (
        CudaDevice(0, "Stub 3060", (8, 6), 12 << 30),
        CudaDevice(1, "Stub 5090", (12, 0), 12 << 30),
    )
    assert [device.architecture for device in report.devices] == ["sm86", "sm120"]
    assert str(report.devices[0]) == "Stub 3060 (sm86, 12 GiB)"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"init": 100}, "the NVIDIA driver answers CUDA_ERROR_NO_DEVICE to cuInit"),
        ({"init": 7777}, "the NVIDIA driver answers error 7777 to cuInit"),
        ({"name": 1}, "the NVIDIA driver answers error 1 to cuDeviceGetName"),
        ({"count": 0}, "the NVIDIA driver has no device for this process"),
    ],
)
def test_a_driver_that_gives_no_device(
    tmp_path: Path, compiler: str, settings: dict[str, int], problem: str
) -> None:
    report = ask_driver(stub(tmp_path, compiler, **settings))  # type: ignore[arg-type]
    assert report.devices == ()
    assert report.problem == problem


def test_no_driver() -> None:
    report = ask_driver("libno-such-driver.so")
    assert report.devices == ()
    assert report.version is None
    assert report.problem == "no NVIDIA driver: libno-such-driver.so is not there"


def test_what_is_no_driver(tmp_path: Path, compiler: str) -> None:
    other = stub(tmp_path, compiler, text="int cuInit(unsigned flags) { return 0; }")
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library")
    for library in (other, str(broken)):
        problem = ask_driver(library).problem
        assert problem is not None
        assert "does not load" in problem


def test_asked_once_and_a_list_of_ones_own(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_report.cache_clear()
    monkeypatch.setattr(devices, "DRIVER", stub(tmp_path, compiler))
    try:
        first = cuda_devices()
        assert len(first) == 2
        first.clear()
        assert len(cuda_devices()) == 2
        assert driver_report() is driver_report()
    finally:
        driver_report.cache_clear()


@pytest.mark.gpu
def test_torch_sees_the_same_devices(torch_cuda: None) -> None:
    import torch

    found = cuda_devices()
    assert len(found) == torch.cuda.device_count()
    assert found[0].name == torch.cuda.get_device_name(0)
    assert found[0].capability == torch.cuda.get_device_capability(0)


def cgroups(root: Path, membership: str, files: dict[str, str]) -> None:
    """Files like those of ``/proc`` and ``/sys/fs/cgroup``."""
    for name, text in {"proc/self/cgroup": membership, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


V1 = "4:memory:/\n2:cpuacct,cpu:{0}\n1:name=systemd:/\n0::/"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {}, 64),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 64),
        ("0::/", {"sys/fs/cgroup/cpu.max": "400000 100000"}, 4),
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "5000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "nonsense"}, 64),
        ("0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "300000 100000"}, 3),
        (
            "0::/a/b",
            {"sys/fs/cgroup/a/cpu.max": "200000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"},
            2,
        ),
        # The path is the host's, the files are the container's.
        ("0::/docker/0123", {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        (V1.format("/"), {}, 64),
        (
            V1.format("/"),
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            64,
        ),
        (
            V1.format("/docker/0123"),
            {
                "sys/fs/cgroup/cpuacct,cpu/docker/0123/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpuacct,cpu/docker/0123/cpu.cfs_period_us": "50000",
            },
            5,
        ),
        (
            V1.format("/docker/0123"),
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "600000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            6,
        ),
        ("0::/", {"sys/fs/cgroup/cpu.max": "9900000 100000"}, 64),
    ],
)
def test_usable_cpus_are_those_of_affinity_and_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    cgroups(tmp_path, membership, files)
    assert usable_cpus(tmp_path) == expected


def test_usable_cpus_of_this_machine(tmp_path: Path) -> None:
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))  # no such files
