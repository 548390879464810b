"""What is installed here, what will serve, and checks that it works; for ``facestream doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from facestream.engines.devices import driver_report
from facestream.engines.errors import EngineError
from facestream.engines.index import index_status
from facestream.engines.registry import backend_status, choose_backend

from ..core.config import Settings, default_gallery_path
from ..core.errors import FacestreamError
from ..core.versions import facestream_version, processor, version_of
from ..detection.mtcnn import kernels
from ..gallery.store import Store
from ..sources import capability, decide
from ..storage.names import printable
from .self_check import checks

PACKAGES = (
    *("numpy", "openvino", "opencv-python-headless", "opencv-python", "faiss-cpu", "faiss-gpu"),
    *("onnxruntime", "onnxruntime-gpu", "av", "pillow", "sqlalchemy", "pydantic"),
    *("torch", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings"),
)
# Distributions that hold the same module.
TWINS = {
    "opencv": ("opencv-python", "opencv-python-headless"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs"),
}
CPU_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was checked; ``failed`` means that facestream cannot do its work.

    ``area`` is e.g. ``backend``, ``detail`` a version, reason or measurement.
    """

    area: str
    name: str
    state: Literal["ok", "note", "failed"]
    detail: str


def check_installation(settings: Settings) -> Iterator[CheckResult]:
    """Check versions, machine, devices, backends, decoders, engines; then do real work."""
    for area in (_versions, _machine, _devices, _backends, _indexes, _decoders):
        yield from area()
    yield _engine_cache(settings)
    yield _gallery()
    for name, check in checks(settings).items():
        yield _run(name, check)


def _versions() -> Iterator[CheckResult]:
    yield CheckResult("version", "facestream", "ok", facestream_version())
    yield CheckResult("version", "python", "ok", f"{platform.python_version()} ({sys.executable})")
    for name in PACKAGES:
        if (version := version_of(name)) is not None:
            yield CheckResult("version", name, "ok", version)
    for module in ("opencv", "onnxruntime"):
        problem = twins_problem(module)
        if problem is not None:
            yield CheckResult("version", module, "note", problem)


def twins_problem(module: str) -> str | None:
    """What to do when several distributions that hold the same module are installed; else None.

    pip does not see that clash: the files of the last one installed win, and uninstalling either
    removes files of the other.
    """
    found = {name: version for name in TWINS[module] if (version := version_of(name)) is not None}
    if len(found) < 2:
        return None
    names = " and ".join(f"{name} {version}" for name, version in found.items())
    return (
        f"{names} are both installed and overwrite each other; "
        f"run: pip uninstall {' '.join(found)}, then install exactly one of them"
    )


def _machine() -> Iterator[CheckResult]:
    model, flags = processor()
    features = [name for name in CPU_FEATURES if name in flags]
    cores = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} cores usable"
    yield CheckResult("machine", "cpu", "ok", f"{model}, {cores}")
    yield CheckResult("machine", "features", "ok", " ".join(features) or "none of the usual ones")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield CheckResult("machine", "memory", "ok", f"{memory / 2**30:.1f} GiB")
    yield CheckResult("machine", "system", "ok", platform.platform())


def _devices() -> Iterator[CheckResult]:
    """The CUDA devices that the driver lets this process use."""
    report = driver_report()
    for device in report.devices:
        yield CheckResult("device", f"cuda:{device.index}", "ok", str(device))
    if report.version is not None:
        newest = ".".join(map(str, report.version))
        yield CheckResult("device", "driver", "ok", f"supports CUDA up to {newest}")
    if report.problem is not None:
        # A CPU is enough: no failure.
        yield CheckResult("device", "cuda", "note", report.problem)


def _backends() -> Iterator[CheckResult]:
    for status in backend_status():
        # Either will do: only when none is left is it a failure.
        yield CheckResult("backend", status.name, "ok" if status.usable else "note", status.detail)
    yield _kernels()
    try:
        choice = choose_backend()
    except EngineError as error:
        yield CheckResult("backend", "chosen", "failed", str(error))
    else:
        yield CheckResult("backend", "chosen", "ok", f"{choice.name}, {choice.reason}")


def _kernels() -> CheckResult:
    """The detector's networks in C: what serves where they are built."""
    problem = kernels.missing()
    if problem is not None:
        return CheckResult("backend", "kernels", "note", f"{problem}; OpenVINO serves it")
    try:
        chosen = kernels.chosen()
    except EngineError as error:
        return CheckResult("backend", "kernels", "failed", str(error))
    detail = f"the detector in C, {chosen}; this CPU runs {', '.join(kernels.variants())}"
    return CheckResult("backend", "kernels", "ok", detail)


def _indexes() -> Iterator[CheckResult]:
    for status in index_status():
        yield CheckResult("index", status.name, "ok" if status.usable else "note", status.detail)
    problem = twins_problem("faiss")
    versions = ((name, version_of(name)) for name in TWINS["faiss"])
    installed = ", ".join(f"{name} {version}" for name, version in versions if version is not None)
    state: Literal["ok", "note"] = "note" if problem else "ok"
    yield CheckResult("index", "faiss from", state, problem or installed or "not installed")


def _decoders() -> Iterator[CheckResult]:
    """What decodes video, and why the rest does not."""
    for one in (capability("cuda"), capability("vaapi")):
        yield CheckResult("decoder", one.kind, "ok" if one.usable else "note", one.describe())
    chosen = decide("auto")
    yield CheckResult("decoder", "chosen", "ok", f"{chosen.decoder}, {chosen.reason}")


def _engine_cache(settings: Settings) -> CheckResult:
    """The folder of plans and verdicts, and its size."""
    folder = settings.runtime.serving().cache
    if folder is None or not folder.exists():
        return CheckResult("engines", "cache", "ok", f"{folder}, empty")
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # deleted meanwhile
            if path.is_file():
                sizes.append(path.stat().st_size)
    files = "1 file" if len(sizes) == 1 else f"{len(sizes):,} files"
    return CheckResult("engines", "cache", "ok", f"{folder}, {files}, {sum(sizes) / 2**20:.1f} MiB")


def _gallery() -> CheckResult:
    """The gallery that serves where none is given."""
    try:
        path = default_gallery_path()
        if not path.exists():
            hint = "none yet: 'facestream gallery add NAME PHOTO' makes it"
            return CheckResult("gallery", "default", "ok", f"{printable(str(path))}, {hint}")
        store = Store(path, create="never")
        try:
            people, calibrated = store.people(), store.calibrated()
        finally:
            store.close()
    except FacestreamError as error:
        return CheckResult("gallery", "default", "note", str(error))
    photos = sum(person.photos for person in people)
    detail = f"{printable(str(path))}, people: {len(people):,}, photos: {photos:,}"
    if calibrated is not None:
        detail += f", calibrated on {calibrated.stored.created[:10]}"
    return CheckResult("gallery", "default", "ok", detail)


def _run(name: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult("proof", name, "ok", check())
    except (EngineError, FacestreamError) as error:
        return CheckResult("proof", name, "failed", str(error))
