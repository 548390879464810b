"""MTCNN: finds faces and their five landmarks (Zhang et al., 2016).

One cascade with facenet-pytorch's published weights and resampling, and one result: its
detections. ``exact`` computes everything in float32. ``fast`` leaves out, after a quick look in
bfloat16 where the CPU has it, what float32 would drop (see ``networks``). On a CUDA device the
whole search runs there through torch, exact in either mode (see ``resident``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from facestream.engines.base import Engine
from facestream.engines.closing import Closing
from facestream.engines.errors import EngineError
from facestream.engines.options import Serving
from facestream.engines.registry import BackendChoice, candidates, choose_backend
from facestream.engines.serving import check_strict

from ...core.config import DetectorSettings
from ...core.types import Faces, Image
from .cascade import Search, find_faces
from .networks import Networks
from .requests import (
    MinFaces,
    check_image,
    make_search,
    searches,
)
from .sampling import AreaSampler
from .worker_pool import Lanes, alone

if TYPE_CHECKING:
    from ..resident.detector import ResidentDetector

Mode = Literal["fast", "exact"]

log = logging.getLogger(__name__)


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
        self._search = make_search(min_face, factor, thresholds)
        if mode not in ("fast", "exact"):
            raise ValueError(f"mode must be 'fast' or 'exact', not {mode!r}")
        self.mode: Mode = mode
        choice = _choose(serving)
        self._lanes: Lanes | None = None
        self._resident: ResidentDetector | None = None
        if choice.name == "torch" and choice.device == "cuda":
            try:
                self._resident = _on_device(self._search, serving)
            except EngineError as error:
                if serving.backend != "auto" or serving.device == "cuda" or serving.strict:
                    raise
                log.warning("the detector runs on the CPU: %s", error)
                choice = choose_backend(device="cpu")
        self.backend = choice.name
        if self._resident is None:
            check_strict(serving, choice.device, choice.reason)
            serving = replace(serving, backend=choice.name, device=choice.device)
            self._lanes = Lanes(serving, screen=mode == "fast")

    @property
    def min_face(self) -> int:
        """Side of the smallest faces to find, in pixels."""
        return self._search.min_face

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs its networks, by the network's name; what it says may change while it runs."""
        if self._resident is not None:
            return self._resident.engines
        return self._own_lanes.engines

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

    def detect_batch(self, images: Sequence[Image], *, min_face: MinFaces = None) -> list[Faces]:
        """The faces of each picture, several pictures at a time; see ``detect``.

        Args:
            images: H×W×3 BGR uint8 each, of any sizes.
            min_face: smallest faces to find in all of them, or in each; None: as the detector
                was made.

        Raises:
            ValueError: an image is not H×W×3 uint8, a ``min_face`` is below 12, or there are
                more or fewer of them than images.
        """
        if self._resident is not None:
            return self._resident.detect_batch(images, min_face=min_face)
        for image in images:
            check_image(image)
        jobs = list(zip(images, searches(self._search, min_face, len(images)), strict=True))
        if len(jobs) == 1:
            image, search = jobs[0]
            return [find_faces(AreaSampler(image), search, self._own_lanes)]
        return self._own_lanes.each(_detect_alone, jobs)

    def close(self) -> None:
        """Free the networks."""
        if self._resident is not None:
            self._resident.close()
        if self._lanes is not None:
            self._lanes.close()

    @property
    def _own_lanes(self) -> Lanes:
        assert self._lanes is not None  # there where the resident detector is not
        return self._lanes


def open_mtcnn(settings: DetectorSettings, serving: Serving) -> Mtcnn:
    """MTCNN as the settings ask for it; see ``Mtcnn``."""
    return Mtcnn(
        mode=settings.mode,
        min_face=settings.min_face,
        factor=settings.factor,
        thresholds=settings.thresholds,
        serving=serving,
    )


def _detect_alone(networks: Networks, job: tuple[Image, Search]) -> Faces:
    image, search = job
    return find_faces(AreaSampler(image), search, alone(networks))


def _choose(serving: Serving) -> BackendChoice:
    """What runs the search: ``auto`` passes over TensorRT.

    torch keeps the whole search on the device; between plans every level and every stage would
    come back to the host.
    """
    choice = choose_backend(serving.backend, device=serving.device)
    if serving.backend != "auto" or choice.name != "tensorrt":
        return choice
    for status in candidates(device=serving.device):
        if status.usable and status.name != "tensorrt":
            return BackendChoice(status.name, f"auto: {status.detail}", status.device)
    return choice


def _on_device(search: Search, serving: Serving) -> ResidentDetector:
    from ..resident.detector import ResidentDetector  # torch is imported where it is wanted

    return ResidentDetector(
        min_face=search.min_face,
        factor=search.factor,
        thresholds=search.thresholds,
        serving=replace(serving, backend="torch", device="cuda"),
    )
