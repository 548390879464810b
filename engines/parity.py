"""The parity gate: no engine serves whose results differ too much from the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from .base import Engine


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison.

    Attributes:
        figures: by name, e.g. ``{"cosine_min": 0.9996}``.
        refused: why the engine may not serve, one sentence each; empty when it may.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    @classmethod
    def of(cls, figures: Mapping[str, float], least: Mapping[str, float]) -> Self:
        """Refuses each figure that is below its bound in ``least``, or is NaN."""
        refused = tuple(
            f"{name} is {figures[name]:.6g}, not {bound:g} or more"
            for name, bound in least.items()
            if not figures[name] >= bound
        )
        return cls(figures, refused)

    @property
    def passed(self) -> bool:
        """Whether the engine may serve."""
        return not self.refused


class Gate(Protocol):
    """Compares an engine with the float32 reference on real inputs."""

    @property
    def key(self) -> str:
        """Names the inputs, the reference and the bounds: another key, another verdict."""
        ...

    def judge(self, engine: Engine) -> Verdict:
        """Run the engine and the reference.

        Raises:
            InferenceError: one of them failed.
        """
        ...
