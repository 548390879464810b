"""Between the host and the device, on a stream of the detector's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from ...core.types import Image


class Transfer:
    """Copies that are under way when the call returns; on the CPU there is nothing to copy.

    Host memory is pinned, so that the device fetches it by itself. torch keeps the memory of a
    copy under way from being used again.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is launched in this block is on the stream, and keeps no gradients."""
        stream = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with torch.inference_mode(), stream:
            yield

    def upload(self, images: Sequence[Image]) -> Tensor:
        """Pictures of one size, B×H×W×3."""
        shape = (len(images), *images[0].shape)
        host = torch.empty(shape, dtype=torch.uint8, pin_memory=self._stream is not None)
        for place, image in zip(host, images, strict=True):
            # Copied where torch would warn of an array that it may not write to.
            place.copy_(torch.from_numpy(np.require(image, requirements=["C", "W"])))
        return host.to(self.device, non_blocking=True)

    def to_host(self, tensor: Tensor) -> Tensor:
        """A copy of a device's tensor; there once ``mark`` is passed."""
        if self._stream is None:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)

    def mark(self) -> torch.cuda.Event | None:
        """The end of what is on the stream by now; ``synchronize`` waits for it."""
        if self._stream is None:
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return event
