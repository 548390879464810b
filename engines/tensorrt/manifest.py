"""The file beside a plan: what it was built from, its tensors and its profiles."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from ..cards import StrictModel

FORMAT: Literal[1] = 1


class TensorFacts(StrictModel):
    """An input or output of a plan; shape None = any length."""

    name: str
    mode: Literal["input", "output"]
    shape: tuple[int | None, ...]
    dtype: str


class ProfileFacts(StrictModel):
    """Shapes of the only input, as the plan takes it, that one profile serves.

    In the file they have the names of the first plans.
    """

    min: tuple[int, ...] = Field(alias="least")
    opt: tuple[int, ...] = Field(alias="usual")
    max: tuple[int, ...] = Field(alias="most")


class Manifest(StrictModel):
    """Of one plan.

    Attributes:
        format: of this file.
        key: names the plan; the hash of ``parts``.
        network: file stem of the ONNX network.
        parts: what the plan depends on, see ``Recipe.parts``.
        tensors: inputs first, each in the network's order.
        profiles: ascending; the first that holds a shape serves it.
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

    @property
    def created_at(self) -> datetime:
        """When the plan was built."""
        return datetime.fromisoformat(self.created)

    def profile_for(self, shape: tuple[int, ...]) -> int:
        """Index of the profile that serves an input of this shape.

        Raises:
            ValueError: none does; names the limits.
        """
        for index, profile in enumerate(self.profiles):
            limits = zip(profile.min, shape, profile.max, strict=False)
            if len(shape) == len(profile.min) and all(a <= b <= c for a, b, c in limits):
                return index
        low, high = self.profiles[0].min, self.profiles[-1].max
        raise ValueError(f"{self.network} takes shapes from {low} to {high}, not {shape}")


def sha256_of_bytes(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()
