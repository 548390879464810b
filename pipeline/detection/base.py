"""What a detector is, and which one serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from facestream.engines.base import Engine
from facestream.engines.options import Serving

from ..core.config import DetectorSettings
from ..core.registry import Registry
from ..core.types import Faces, Image


class Detector(Protocol):
    """Finds faces and their five landmarks. May be used from several threads."""

    @property
    def min_face(self) -> int:
        """Side of the smallest faces that are searched for by default, in pixels."""
        ...

    @property
    def backend(self) -> str:
        """What runs the networks, e.g. ``openvino``."""
        ...

    @property
    def engines(self) -> Mapping[str, Engine]:
        """The engines of its networks by name; empty without engines."""
        ...

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        """The faces of each picture, by descending score.

        Args:
            images: H×W×3 BGR uint8 each, of any sizes.
            min_face: smallest faces to find in each, in pixels; None: the detector's own.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


DETECTORS: Registry[[DetectorSettings, Serving], Detector] = Registry(
    "detector",
    "facestream.detectors",
    {"mtcnn": "facestream.pipeline.detection.mtcnn.detector:open_mtcnn"},
)
"""Factories of detectors by the name in ``detector.name``."""


def open_detector(settings: DetectorSettings, serving: Serving) -> Detector:
    """The detector that the settings name.

    Raises:
        ConfigError: there is none of this name.
        EngineError: it cannot run here.
    """
    return DETECTORS.load(settings.name)(settings, serving)
