"""What one may ask of an engine when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .base import Precision

Backend = Literal["auto", "openvino", "torch", "tensorrt"]
Device = Literal["auto", "cpu", "cuda"]
Channels = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """Feed pictures as they come from a camera; the engine converts them on the device.

    The network's only input, N×3×H×W float32, is replaced by N×H×W×3 uint8 and the engine
    computes ``(picture - mean) / scale`` in float32. That saves the caller the conversion and
    the four times larger float copy.

    Attributes:
        channels: colour order of the pictures that are fed.
        network_channels: colour order the network was trained with.
        mean: subtracted from each value.
        scale: then divided by; not 0.
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
    """What is to run the networks here, and what may happen when it cannot.

    Attributes:
        backend: ``auto`` takes the fastest that works; any other serves or is an error.
        device: ``auto`` takes a CUDA device where there is one.
        precision: of the networks that may be rounded; ``auto`` is the fastest that passes its
            parity gate.
        threads: CPU threads; None leaves the choice to the backend.
        building: while a plan is built for this machine, ``fallback`` serves from the next
            backend and switches over, ``wait`` waits for it.
        strict: whatever would run elsewhere than asked for is an error; with ``auto``, whatever
            would leave a CUDA device of this machine unused.
        cache: folder of built plans and of the parity gate's verdicts; None keeps nothing.
    """

    backend: Backend = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    building: Literal["fallback", "wait"] = "fallback"
    strict: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes of an input that the caller really sends: smallest, usual and largest.

    Attributes:
        least: e.g. ``(1, 3, 112, 112)``; of the network's own input, before ``image_input``.
        usual: what a plan is tuned for.
        most: a larger one is refused; a larger batch may be divided.
        batches: the batch sizes that come, ascending; each may get a CUDA graph of its own.
    """

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]
    batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.least) == len(self.usual) == len(self.most):
            raise ValueError("least, usual and most must have as many dimensions")
        if not all(a <= b <= c for a, b, c in zip(self.least, self.usual, self.most, strict=True)):
            raise ValueError(f"{self.least} <= {self.usual} <= {self.most} does not hold")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a network should run.

    Attributes:
        precision: ``auto`` takes the fastest that keeps the networks' results (bfloat16 where
            the CPU computes it in hardware, else float32).
        threads: CPU threads of this engine; None leaves the choice to the backend.
        static_shapes: an input shape that comes often is compiled on its own, which is faster
            and costs one more copy of the weights. For small networks fed with few shapes.
        max_shapes: how many such shapes are kept; the least recently used goes first.
        image_input: feed uint8 pictures instead of the network's own input.
        shapes: of the only input; backends that build a plan need it.
        device: ``auto`` takes a CUDA device where the backend finds one.
    """

    precision: Precision = "auto"
    threads: int | None = None
    static_shapes: bool = False
    max_shapes: int = 16
    image_input: ImageInput | None = None
    shapes: ShapeRange | None = None
    device: Device = "auto"

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.max_shapes < 1:
            raise ValueError(f"max_shapes must be at least 1, not {self.max_shapes}")
