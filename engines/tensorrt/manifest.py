"""What is written beside a plan: of what it was built, and what it takes and gives."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorFacts(_Strict):
    """An input or output of a plan; shape None = any length."""

    name: str
    mode: Literal["input", "output"]
    shape: tuple[int | None, ...]
    dtype: str


class ProfileFacts(_Strict):
    """Shapes of the only input, as the plan takes it, that one profile serves."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


class Manifest(_Strict):
    """Of one plan.

    Attributes:
        format: of this file.
        key: names the plan; the hash of ``parts``.
        network: file stem of the ONNX network.
        parts: what the plan depends on, see ``Recipe.parts``.
        tensors: inputs first, each in the network's order.
        profiles: ascending; the first whose ``most`` holds a shape serves it.
        sha256: of the plan, in hex.
        size: of the plan, in bytes.
        build_seconds: how long it took.
        created: ISO 8601, UTC.
    """

    format: Literal[1] = FORMAT
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    network: str = Field(pattern=r"^[^/]+$")
    parts: dict[str, Any]
    tensors: tuple[TensorFacts, ...]
    profiles: tuple[ProfileFacts, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    build_seconds: float = Field(ge=0)
    created: str

    def profile_for(self, shape: tuple[int, ...]) -> int:
        """Index of the profile that serves an input of this shape.

        Raises:
            ValueError: none does; names the limits.
        """
        for index, profile in enumerate(self.profiles):
            limits = zip(profile.least, shape, profile.most, strict=False)
            if len(shape) == len(profile.least) and all(a <= b <= c for a, b, c in limits):
                return index
        least, most = self.profiles[0].least, self.profiles[-1].most
        raise ValueError(f"{self.network} takes shapes from {least} to {most}, not {shape}")


def sha256_of_bytes(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()
