"""Options for loading a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .base import Precision

# "torch" is the old name of "onnxruntime".
Backend = Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"]
Device = Literal["auto", "cpu", "cuda"]
Channels = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """Feed uint8 images; the engine converts them on the device.

    The network's only input, N×3×H×W float32, becomes N×H×W×3 uint8, and the engine computes
    ``(image - mean) / scale`` in float32. A quarter of the bytes is copied.

    Attributes:
        channels: colour order of the images.
        network_channels: colour order the network was trained with.
        mean: subtracted from each value.
        scale: divisor after that; not 0.
    """

    channels: Channels = "BGR"
    network_channels: Channels = "RGB"
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale == 0:
            raise ValueError("scale must not be 0")


@dataclass(frozen=True, slots=True)
class Serving:
    """What runs the networks, and which fallbacks are allowed.

    Attributes:
        backend: ``auto`` takes the fastest that works; any other serves or is an error.
        device: ``auto`` takes a CUDA device where there is one.
        precision: of the networks that may be rounded; ``auto`` is the fastest that passes its
            parity gate.
        threads: CPU threads; None leaves the choice to the backend.
        building: while a plan is built, ``fallback`` serves from the next backend and then
            switches over, ``wait`` waits for the build.
        strict: running on another device than asked for is an error; with ``auto``, leaving a
            CUDA device of this machine unused is one.
        cache: folder of plans and parity verdicts; None keeps nothing.
    """

    backend: Backend = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    building: Literal["fallback", "wait"] = "fallback"
    strict: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        _at_least_one("threads", self.threads)


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes of an input that the caller sends.

    Attributes:
        min: e.g. ``(1, 3, 112, 112)``; of the network's own input, before ``image_input``.
        opt: the shape a plan is tuned for.
        max: larger shapes are refused; a larger batch may be split.
        batches: the batch sizes in use, ascending; each may get a CUDA graph of its own.
    """

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]
    batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.min) == len(self.opt) == len(self.max):
            raise ValueError("min, opt and max must have the same number of dimensions")
        if not all(a <= b <= c for a, b, c in zip(self.min, self.opt, self.max, strict=True)):
            raise ValueError(f"{self.min} <= {self.opt} <= {self.max} does not hold")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a network is loaded.

    Attributes:
        precision: ``auto`` takes the fastest that keeps the results (bfloat16 where the CPU
            computes it in hardware, else float32).
        threads: CPU threads of this engine; None leaves the choice to the backend.
        streams: callers served side by side; they share the CPU threads and the weights.
        image_input: feed uint8 images instead of the network's own input.
        shapes: of the only input; backends that build a plan need it.
        device: ``auto`` takes a CUDA device where the backend finds one.
    """

    precision: Precision = "auto"
    threads: int | None = None
    streams: int = 1
    image_input: ImageInput | None = None
    shapes: ShapeRange | None = None
    device: Device = "auto"

    def __post_init__(self) -> None:
        _at_least_one("threads", self.threads)
        _at_least_one("streams", self.streams)


def _at_least_one(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
