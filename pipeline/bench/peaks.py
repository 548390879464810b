"""What this machine can do at most, measured: products of matrices, and copying memory."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from facestream.engines.devices import usable_cpus

# Twice the largest last-level caches in use would still fit; a copy of it comes from memory.
_COPY_BYTES = 512 * 2**20

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "f32"}

Step = Callable[[], float]


def openvino_matmul(size: int, precision: str) -> tuple[Step, dict[str, Any]]:
    """size³ product on the CPU through OpenVINO, by a constant matrix as a dense layer has it.

    Returns:
        A step that gives its operations in GFLOP (int8: 10⁹ integer operations), and the
        arithmetic that OpenVINO says it really used.

    Raises:
        ValueError: no such precision.
    """
    if precision not in _HINTS:
        raise ValueError(f"no precision '{precision}'; choose {', '.join(_HINTS)}")
    ov: Any = importlib.import_module("openvino")
    chance = np.random.default_rng(1)
    values = chance.standard_normal((size, size), dtype=np.float32)
    ops = ov.opset13
    given = ops.parameter([size, size], np.float32, name="a")
    matrix: Any = ops.constant(values)
    left: Any = given
    if precision == "int8":
        # The pattern of OpenVINO's quantised networks, which it multiplies in int8: activations
        # in 256 steps, weights in 255 that lie even about zero.
        left = ops.fake_quantize(given, *_range(-4, 4 * 127 / 128), 256)
        matrix = ops.fake_quantize(matrix, *_range(-4, 4), 255)
    model = ov.Model([ops.matmul(left, matrix, False, True)], [given], "matmul")
    config = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = ov.Core().compile_model(model, "CPU", config)
    request = compiled.create_infer_request()
    operations = 2 * size**3 / 1e9

    def step() -> float:
        request.infer({0: values}, share_inputs=True, share_outputs=True)
        return operations

    return step, {"backend": "openvino", "kernel": _kernel(compiled)}


def _range(low: float, high: float) -> tuple[Any, Any, Any, Any]:
    """From these values to the same."""
    return np.float32(low), np.float32(high), np.float32(low), np.float32(high)


def _kernel(compiled: Any) -> str:
    """What OpenVINO's program multiplies with, e.g. ``brgemm_avx512_bf16``."""
    for op in compiled.get_runtime_model().get_ops():
        info = op.get_rt_info()
        layer = str(info["layerType"].astype(str)) if "layerType" in info else ""
        if layer in ("FullyConnected", "MatMul"):
            return str(info["primitiveType"].astype(str))
    return "unknown"


def torch_matmul(size: int, precision: str) -> tuple[Step, dict[str, Any]]:
    """size³ product on the first CUDA device through torch; float32 without TF32.

    Raises:
        RuntimeError: there is no CUDA device.
    """
    import torch

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision == "int8":
        a = torch.randint(-64, 64, (size, size), dtype=torch.int8, device="cuda")
    else:
        a = torch.randn(size, size, device="cuda").to(kinds[precision])
    b = a.t().contiguous().t()
    torch.backends.cuda.matmul.allow_tf32 = False
    times = 16
    operations = times * 2 * size**3 / 1e9

    def step() -> float:
        for _ in range(times):
            torch._int_mm(a, b) if precision == "int8" else a @ b
        torch.cuda.synchronize()
        return operations

    return step, {"backend": "torch", "device": torch.cuda.get_device_name()}


def copy_memory(threads: int | None = None) -> tuple[Step, dict[str, Any]]:
    """Copies memory as STREAM's «copy» does (McCalpin, 1995): bytes read and bytes written count.

    Args:
        threads: None for one a core.

    Returns:
        A step that gives what it moved in GB.
    """
    count = threads or usable_cpus()
    source = np.ones(_COPY_BYTES // 8, np.float64)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(source, count), np.array_split(target, count), strict=True))

    def step() -> float:
        workers = [threading.Thread(target=np.copyto, args=(to, of)) for of, to in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return 2 * source.nbytes / 1e9

    return step, {"backend": "numpy", "threads": count}


def copy_cuda_memory() -> tuple[Step, dict[str, Any]]:
    """The same on the first CUDA device."""
    import torch

    source = torch.ones(_COPY_BYTES // 4, dtype=torch.float32, device="cuda")
    target = torch.zeros_like(source)
    times = 16

    def step() -> float:
        for _ in range(times):
            target.copy_(source)
        torch.cuda.synchronize()
        return times * 2 * source.nbytes / 1e9

    return step, {"backend": "torch", "device": torch.cuda.get_device_name()}
