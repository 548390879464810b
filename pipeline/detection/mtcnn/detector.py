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
from facestream.engines.devices import cuda_devices
from facestream.engines.errors import BackendUnavailable, EngineError
from facestream.engines.options import Serving
from facestream.engines.registry import BackendChoice, choose_backend
from facestream.engines.serving import check_strict

from ...core.config import DetectorSettings
from ...core.types import Faces, Image
from .cascade import Search, find_faces
from .networks import Networks
from .parity import NetworkGate
from .requests import MinFaces, check_image, make_search, searches
from .sampling import AreaSampler
from .worker_pool import SingleWorker, WorkerPool

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
        self._pool: WorkerPool | None = None
        self._resident = _on_device(self._search, serving)
        if self._resident is not None:
            self.backend = self._resident.backend
            return
        choice = _choose(serving)
        self.backend = choice.name
        check_strict(serving, choice.device, choice.reason)
        serving = replace(serving, backend=choice.name, device=choice.device)
        self._pool = WorkerPool(serving, screen=mode == "fast", gate=NetworkGate)

    @property
    def min_face(self) -> int:
        """Side of the smallest faces to find, in pixels."""
        return self._search.min_face

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs its networks, by the network's name; what it says may change while it runs."""
        if self._resident is not None:
            return self._resident.engines
        return self._own_pool.engines

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
            return [find_faces(AreaSampler(image), search, self._own_pool)]
        return self._own_pool.each(_detect_alone, jobs)

    def close(self) -> None:
        """Free the networks."""
        if self._resident is not None:
            self._resident.close()
        if self._pool is not None:
            self._pool.close()

    @property
    def _own_pool(self) -> WorkerPool:
        assert self._pool is not None  # there where the resident detector is not
        return self._pool


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
    return find_faces(AreaSampler(image), search, SingleWorker(networks))


def _choose(serving: Serving) -> BackendChoice:
    """What runs the search where it does not stay on the device.

    ``auto`` takes the CPU: on a GPU every level and every stage would come back to the host.
    """
    if serving.backend == "auto" and serving.device != "cuda":
        return choose_backend(device="cpu")
    return choose_backend(serving.backend, device=serving.device)


def _on_device(search: Search, serving: Serving) -> ResidentDetector | None:
    """The detector that stays on a CUDA device, through torch; None where it is not wanted, or
    where it cannot serve and another backend may.

    Raises:
        BackendUnavailable: it was asked for and cannot serve.
        ParityRefused: likewise.
    """
    wanted = serving.backend in ("auto", "torch", "onnxruntime") and serving.device != "cpu"
    if not wanted or not cuda_devices():
        return None
    try:
        try:
            # torch is optional and slow to load.
            from ..resident.detector import ResidentDetector
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"the detector on a GPU needs torch, which does not load ({error}); install it "
                "with: pip install torch onnx"
            ) from error
        return ResidentDetector(
            min_face=search.min_face,
            factor=search.factor,
            thresholds=search.thresholds,
            serving=replace(serving, device="cuda"),
        )
    except EngineError as error:
        no_other = serving.device == "cuda" or serving.strict
        if serving.backend == "torch" or (serving.backend == "auto" and no_other):
            raise
        log.warning("the detector does not stay on the GPU: %s", error)
        return None
