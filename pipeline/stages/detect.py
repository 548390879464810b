"""The detector as a stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..types import Faces, FrameResult, Image


class Detector(Protocol):
    """Finds faces in pictures of one size or several."""

    def detect_batch(self, images: Sequence[Image]) -> list[Faces]: ...

    def close(self) -> None: ...


class DetectStage:
    """Finds the faces of every ``every``-th frame; photos are always searched."""

    name = "detect"

    def __init__(self, detector: Detector, *, every: int = 1) -> None:
        self._detector = detector
        self._every = every

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with ``faces`` and ``detected`` filled in."""
        due = [r.frame.still or r.frame.index % self._every == 0 for r in batch]
        images = [r.frame.image for r, now in zip(batch, due, strict=True) if now]
        found = iter(self._detector.detect_batch(images) if images else [])
        return [
            replace(r, faces=next(found), detected=True) if now else r
            for r, now in zip(batch, due, strict=True)
        ]

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()
