"""An engine and a gate without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from facestream.engines.base import Array, Engine, TensorSpec
from facestream.engines.closing import Closing
from facestream.engines.parity import Verdict
from numpy.typing import NDArray


class Fake(Closing):
    """Gives zeros."""

    inputs = (TensorSpec("x", (None, 3), np.dtype(np.float32)),)
    outputs = inputs

    def __init__(
        self, precision: str = "bfloat16", *, device: str = "CPU", backend: str = "openvino"
    ) -> None:
        self.precision, self.device, self.backend = precision, device, backend
        self.closed = False
        self.reason = ""

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        return {"x": np.zeros((1, 3), np.float32)}

    def close(self) -> None:
        self.closed = True


class FakeGate:
    """Refuses what computes in one of these precisions; counts how often it is asked."""

    def __init__(self, *refused: str, key: str = "fake-1") -> None:
        self.key = key
        self.refused = refused
        self.asked: list[str] = []

    def judge(self, engine: Engine) -> Verdict:
        self.asked.append(engine.precision)
        bad = engine.precision in self.refused
        return Verdict(
            {"cosine_min": 0.5 if bad else 0.9999},
            ("cosine_min is 0.5, not 0.999 or more",) if bad else (),
        )
