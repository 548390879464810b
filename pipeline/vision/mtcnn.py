"""MTCNN: finds faces and their five landmarks (Zhang et al., 2016).

One cascade with facenet-pytorch's published weights, in two modes. ``exact`` gives
facenet-pytorch's detections: float32 and its resampling. ``fast`` resamples and computes in the
quickest way that still finds the same faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from facestream.engines.registry import Backend
from numpy.typing import NDArray

from ..types import Faces, Floats, Image
from .cascade import Candidates, output, refine
from .networks import Networks
from .proposals import LEVEL_OVERLAP, PYRAMID_OVERLAP, Proposals, log_odds, pyramid
from .sampling import AreaSampler

Mode = Literal["fast", "exact"]



class Mtcnn:
    """The detector. May be used from several threads.

    Args:
        mode: ``fast``, or ``exact`` for facenet-pytorch's own detections.
        min_face: side of the smallest faces to find, in pixels, at least 12.
        factor: from one size of face to the next in the search, between 0 and 1.
        thresholds: probabilities that P-, R- and O-Net must give a face.
        backend: engine to run on.
        threads: CPU threads; None leaves the choice to the backend.

    Raises:
        ValueError: an argument is out of its range.
        BackendUnavailable: the backend cannot serve here.
        ModelError: a network's file is missing or damaged.
    """

    def __init__(
        self,
        *,
        mode: Mode = "fast",
        min_face: int = 40,
        factor: float = 0.709,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        backend: Backend = "auto",
        threads: int | None = None,
    ) -> None:
        if mode not in ("fast", "exact"):
            raise ValueError(f"mode must be 'fast' or 'exact', not {mode!r}")
        if min_face < 12:
            raise ValueError(f"min_face must be at least 12 pixels, not {min_face}")
        if not 0.1 <= factor <= 0.95:
            raise ValueError(f"factor must be from 0.1 to 0.95, not {factor}")
        if len(thresholds) != 3 or not all(0 < value < 1 for value in thresholds):
            raise ValueError(f"thresholds must be three numbers between 0 and 1, not {thresholds}")
        self.mode: Mode = mode
        self.min_face = min_face
        self.factor = factor
        self.thresholds = thresholds
        self._networks = Networks(backend=backend, threads=threads, screen=mode == "fast")

    @property
    def backend(self) -> str:
        """Backend that serves."""
        return self._networks.pnet.backend

    def detect(self, image: Image) -> Faces:
        """The faces of a picture, by descending score.

        Args:
            image: H×W×3 BGR uint8 of any size.

        Returns:
            Boxes may reach beyond the picture.

        Raises:
            ValueError: the image is not H×W×3 uint8.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Faces]:
        """The faces of each picture; pictures of one size share the networks' batches."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            _check(image)
            groups.setdefault((image.shape[0], image.shape[1]), []).append(index)
        found: dict[int, Faces] = {}
        for size, members in groups.items():
            faces = self._detect_same([images[index] for index in members], size)
            found.update(zip(members, faces, strict=True))
        return [found[index] for index in range(len(images))]

    def close(self) -> None:
        """Free the networks."""
        self._networks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _detect_same(self, images: Sequence[Image], size: tuple[int, int]) -> list[Faces]:
        samplers = [AreaSampler(image) for image in images]
        candidates = Candidates.of(self._propose(samplers, size))
        _, refine_threshold, output_threshold = self.thresholds
        candidates = refine(
            candidates, samplers, self._networks.rnet, size=size, threshold=refine_threshold
        )
        return output(candidates, samplers, self._networks.onet, size=size, threshold=output_threshold)

    def _propose(self, samplers: Sequence[AreaSampler], size: tuple[int, int]) -> list[Floats]:
        threshold = log_odds(self.thresholds[0])
        parts: list[list[Proposals]] = [[] for _ in samplers]
        for level in pyramid(*size, min_face=self.min_face, factor=self.factor):
            for part, sampler in zip(parts, samplers, strict=True):
                cells = self._networks.cells(sampler.level(level.height, level.width), threshold)
                found = Proposals.of_cells(cells, scale=level.scale)
                part.append(found.suppress(LEVEL_OVERLAP))
        return [Proposals.join(part).suppress(PYRAMID_OVERLAP).refined() for part in parts]


def _check(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image must be H×W×3, not {shape}; see vision.images.to_bgr")
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, not {image.dtype}; see vision.images.to_bgr")
