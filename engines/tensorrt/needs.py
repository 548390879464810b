"""What has to be here before TensorRT can run anything: a GPU, its driver, two packages."""

from __future__ import annotations

from ..cuda.runtime import call, runtime
from ..devices import CudaDevice, cuda_devices, driver_report
from ..errors import BackendUnavailable, InferenceError
from .flavour import Flavour, find_flavour


def check_needs() -> tuple[Flavour, CudaDevice]:
    """The flavour that runs here and the card it runs on.

    Raises:
        BackendUnavailable: something is missing; names all of it in one line.
    """
    missing = []
    devices = cuda_devices()
    if not devices:
        missing.append(driver_report().problem or "no CUDA device")
    flavour = None
    try:
        flavour = find_flavour()
    except BackendUnavailable as error:
        missing.append(str(error))
    try:
        _check_runtime(has_device=bool(devices))
    except BackendUnavailable as error:
        missing.append(str(error))
    if flavour is None or missing:
        raise BackendUnavailable("tensorrt cannot run here: " + "; ".join(missing))
    device = devices[0]
    if flavour.targets and device.architecture not in flavour.targets:
        raise BackendUnavailable(
            f"tensorrt cannot run here: {flavour.name} {flavour.version} does not serve "
            f"{device}, only {', '.join(flavour.targets)}; install tensorrt for it"
        )
    return flavour, device


def _check_runtime(*, has_device: bool) -> None:
    """The CUDA runtime must be there, and be one the driver knows."""
    runtime()
    if not has_device:
        return
    needs, has = int(call("cudaRuntimeGetVersion")) // 1000, driver_report().version
    if has is not None and needs > has[0]:  # within a major version any runtime will do
        raise BackendUnavailable(
            f"cuda-bindings is for CUDA {needs}, the driver for CUDA {has[0]}.{has[1]}: "
            f"pip install 'cuda-bindings<{has[0] + 1}', or a newer driver"
        )
    try:
        call("cudaGetDeviceCount")
    except InferenceError as error:
        raise BackendUnavailable(f"the CUDA runtime does not start: {error}") from error
