"""What one may ask of an engine when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .base import Precision

Backend = Literal["auto", "openvino", "torch"]
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
    """

    precision: Precision = "auto"
    threads: int | None = None
    static_shapes: bool = False
    max_shapes: int = 16
    image_input: ImageInput | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if self.max_shapes < 1:
            raise ValueError(f"max_shapes must be at least 1, not {self.max_shapes}")
