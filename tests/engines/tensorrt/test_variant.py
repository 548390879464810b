"""What has to be here for TensorRT, and what is said where it is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from facestream.engines.cuda import runtime
from facestream.engines.devices import CudaDevice, DriverReport
from facestream.engines.errors import BackendUnavailable
from facestream.engines.tensorrt import variant as variants
from facestream.engines.tensorrt.variant import Variant, check_requirements

from .fakes import Code

RTX_3060 = CudaDevice(0, "Fake 3060", (8, 6), 12 << 30)
H100 = CudaDevice(0, "Fake H100", (9, 0), 80 << 30)
TENSORRT = Variant("tensorrt", "11.0.0.0", SimpleNamespace())
RTX = Variant(
    "tensorrt_rtx",
    "1.7.0.0",
    SimpleNamespace(ComputeCapability=SimpleNamespace(__members__={"SM86": 0, "SM120": 1})),
)


def here(
    monkeypatch: pytest.MonkeyPatch,
    *,
    devices: tuple[CudaDevice, ...] = (RTX_3060,),
    variant: Variant | str = TENSORRT,
    binding: tuple[int, Code] | str = (13050, Code.cudaSuccess),
    driver: tuple[int, int] = (13, 0),
) -> None:
    """Pretend that this is what a machine has; a text is why something is missing."""
    problem = None if devices else "no NVIDIA driver: it is not there"
    report = DriverReport(devices, driver, problem)

    def found() -> Variant:
        if isinstance(variant, str):
            raise BackendUnavailable(variant)
        return variant

    def module() -> Any:
        if isinstance(binding, str):
            raise BackendUnavailable(binding)
        version, counted = binding
        return SimpleNamespace(
            cudaError_t=Code,
            cudaRuntimeGetVersion=lambda: (Code.cudaSuccess, version),
            cudaGetDeviceCount=lambda: (counted, None),
            cudaGetErrorString=lambda code: (Code.cudaSuccess, b"out of something"),
            cudaGetLastError=lambda: (Code.cudaSuccess,),
        )

    monkeypatch.setattr(variants, "cuda_devices", lambda: list(devices))
    monkeypatch.setattr(variants, "driver_report", lambda: report)
    monkeypatch.setattr(variants, "find_variant", found)
    monkeypatch.setattr(variants, "runtime", module)
    monkeypatch.setattr(runtime, "runtime", module)


@pytest.mark.parametrize(
    ("variant", "device"), [(TENSORRT, RTX_3060), (TENSORRT, H100), (RTX, RTX_3060)]
)
def test_all_is_here(monkeypatch: pytest.MonkeyPatch, variant: Variant, device: CudaDevice) -> None:
    here(monkeypatch, devices=(device,), variant=variant)
    assert check_requirements() == (variant, device)


def test_a_runtime_of_the_same_major_version_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, binding=(12090, Code.cudaSuccess), driver=(12, 2))
    assert check_requirements()[1] == RTX_3060


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"devices": (), "variant": "tensorrt is not installed", "binding": "no binding"},
            "no NVIDIA driver: it is not there; tensorrt is not installed; no binding",
        ),
        (
            {"driver": (12, 4)},
            "cuda-bindings is for CUDA 13, the driver for CUDA 12.4: pip install tensorrt-cu12 "
            "'cuda-bindings<13' onnx, or a newer driver",
        ),
        (
            {"driver": (12, 8), "variant": RTX},
            "cuda-bindings is for CUDA 13, the driver for CUDA 12.8: pip install "
            "tensorrt-rtx-cu12 'cuda-bindings<13' onnx, or a newer driver",
        ),
        (
            {"binding": (13050, Code.cudaErrorMemoryAllocation)},
            "the CUDA runtime does not start: cudaErrorMemoryAllocation: out of something "
            "(cudaGetDeviceCount)",
        ),
        (
            {"variant": RTX, "devices": (H100,)},
            "tensorrt_rtx 1.7.0.0 builds nothing for sm90, only for sm86, sm120; other GPUs need "
            "tensorrt",
        ),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    here(monkeypatch, **settings)
    with pytest.raises(BackendUnavailable) as caught:
        check_requirements()
    assert str(caught.value) == f"tensorrt cannot run here: {message}"
