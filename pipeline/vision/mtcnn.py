"""MTCNN: finds faces and their five landmarks (Zhang et al., 2016).

One cascade with facenet-pytorch's published weights and resampling, and one result: its
detections. ``exact`` computes everything in float32. ``fast`` leaves out, after a quick look in
bfloat16 where the CPU has it, what float32 would drop (see ``networks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.closing import Closing
from facestream.engines.options import Serving
from facestream.engines.registry import choose_backend

from ..types import Faces, Image
from .cascade import Search, find_faces
from .lanes import Lanes, alone
from .networks import Networks
from .sampling import AreaSampler

Mode = Literal["fast", "exact"]


class Mtcnn(Closing):
    """The detector. May be used from several threads.

    Args:
        mode: ``fast``, or ``exact`` for float32 throughout.
        min_face: side of the smallest faces to find, in pixels, at least 12.
        factor: from one size of face to the next in the search, 0.1 to 0.95.
        thresholds: probabilities that P-, R- and O-Net must give a face.
        serving: what is to run its networks; without threads all cores the process may use.

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
        serving: Serving = Serving(),
    ) -> None:
        self._search = _search(min_face, factor, thresholds)
        if mode not in ("fast", "exact"):
            raise ValueError(f"mode must be 'fast' or 'exact', not {mode!r}")
        self.mode: Mode = mode
        self.backend = choose_backend(serving.backend).name
        self._lanes = Lanes(replace(serving, backend=self.backend), screen=mode == "fast")

    @property
    def min_face(self) -> int:
        """Side of the smallest faces to find, in pixels."""
        return self._search.min_face

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs its networks, by the network's name; what it says may change while it runs."""
        return self._lanes.engines

    def detect(self, image: Image) -> Faces:
        """The faces of a picture, by descending score.

        Args:
            image: H×W×3 BGR uint8 of any size.

        Returns:
            Boxes may reach beyond the picture.

        Raises:
            ValueError: the image is not H×W×3 uint8.
        """
        _check(image)
        return find_faces(AreaSampler(image), self._search, self._lanes)

    def detect_batch(
        self, images: Sequence[Image], *, min_face: int | Sequence[int | None] | None = None
    ) -> list[Faces]:
        """The faces of each picture, several pictures at a time; see ``detect``.

        Args:
            images: H×W×3 BGR uint8 each, of any sizes.
            min_face: smallest faces to find in all of them, or in each; None: as the detector
                was made.

        Raises:
            ValueError: an image is not H×W×3 uint8, a ``min_face`` is below 12, or there are
                more or fewer of them than images.
        """
        for image in images:
            _check(image)
        jobs = list(zip(images, self._searches(min_face, len(images)), strict=True))
        if len(jobs) == 1:
            image, search = jobs[0]
            return [find_faces(AreaSampler(image), search, self._lanes)]
        return self._lanes.each(_detect_alone, jobs)

    def close(self) -> None:
        """Free the networks."""
        self._lanes.close()

    def _searches(self, min_face: int | Sequence[int | None] | None, count: int) -> list[Search]:
        sizes = [min_face] * count if min_face is None or isinstance(min_face, int) else min_face
        if len(sizes) != count:
            raise ValueError(f"min_face has {len(sizes)} sizes for {count} images")
        return [
            self._search
            if size is None
            else _search(size, self._search.factor, self._search.thresholds)
            for size in sizes
        ]


def _detect_alone(networks: Networks, job: tuple[Image, Search]) -> Faces:
    image, search = job
    return find_faces(AreaSampler(image), search, alone(networks))


def _search(min_face: int, factor: float, thresholds: tuple[float, float, float]) -> Search:
    if min_face < 12:
        raise ValueError(f"min_face must be at least 12 pixels, not {min_face}")
    if not 0.1 <= factor <= 0.95:
        raise ValueError(f"factor must be from 0.1 to 0.95, not {factor}")
    if len(thresholds) != 3 or not all(0 < value < 1 for value in thresholds):
        raise ValueError(f"thresholds must be three numbers between 0 and 1, not {thresholds}")
    return Search(min_face, factor, thresholds)


def _check(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image must be H×W×3, not {shape}; see vision.images.to_bgr")
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, not {image.dtype}; see vision.images.to_bgr")
    if image.size == 0:
        raise ValueError(f"image has no pixels: {image.shape}")
