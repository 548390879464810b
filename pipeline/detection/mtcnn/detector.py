"""MTCNN: finds faces and their five landmarks (Zhang et al., 2016).

One cascade with facenet-pytorch's published weights and resampling. ``exact`` gives its
detections and computes everything in float32. ``fast`` gives the same away from the picture's
edge; there it fills what a window sees beyond it (``Search.padded``). On a CPU the networks run in
C (see ``kernels``) or through OpenVINO. There ``fast`` leaves out, after a screen in bfloat16 where
the CPU has it, what float32 would drop (see ``networks``). On a CUDA device the whole search runs
there through torch, in float32 in either mode (see ``resident``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from facestream.engines.base import BaseEngine, Engine
from facestream.engines.closing import Closing
from facestream.engines.devices import cuda_devices, usable_cpus
from facestream.engines.errors import BackendUnavailable, EngineError
from facestream.engines.options import Serving
from facestream.engines.registry import choose_backend
from facestream.engines.serving import check_strict

from ...core.config import DetectorSettings
from ...core.types import Faces, Image
from . import kernels as native
from .cascade import Search, WorkerPool
from .kernel_networks import KernelNetworks
from .networks import open_networks
from .parity import NetworkGate
from .screening import computes_bfloat16, screen_pays
from .stages import Stages

if TYPE_CHECKING:
    from ..resident.detector import ResidentDetector

Mode = Literal["fast", "exact"]
KernelChoice = Literal["auto", "off"]

log = logging.getLogger(__name__)


class Mtcnn(Closing):
    """The detector. May be used from several threads.

    Args:
        mode: ``fast``, or ``exact`` for float32 throughout.
        min_face: side of the smallest faces to find, in pixels, at least 12.
        factor: from one size of face to the next in the search, 0.1 to 0.95.
        thresholds: probabilities that P-, R- and O-Net must give a face.
        serving: what is to run its networks; without threads all cores the process may use.
        kernels: ``auto`` runs the networks in C where no other backend than the CPU's is asked
            for and the kernels are built; ``off`` never.

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
        kernels: KernelChoice = "auto",
    ) -> None:
        self._search = Search(min_face, factor, thresholds, padded=mode == "fast")
        if mode not in ("fast", "exact"):
            raise ValueError(f"mode must be 'fast' or 'exact', not {mode!r}")
        if kernels not in ("auto", "off"):
            raise ValueError(f"kernels must be 'auto' or 'off', not {kernels!r}")
        self.mode: Mode = mode
        self._searcher: WorkerPool | ResidentDetector
        resident = _on_device(self._search, serving)
        if resident is None:
            self._searcher, self.backend = _on_engines(
                serving, mode, self._search, kernels=kernels == "auto"
            )
        else:
            self._searcher, self.backend = resident, "torch"

    @property
    def min_face(self) -> int:
        """Side of the smallest faces to find, in pixels."""
        return self._search.min_face

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs its networks, by the network's name; what it says may change while it runs."""
        return self._searcher.engines

    def detect(self, image: Image) -> Faces:
        """The faces of a picture; see ``detect_batch``."""
        return self.detect_batch([image])[0]

    def detect_batch(
        self, images: Sequence[Image], *, min_face: int | Sequence[int | None] | None = None
    ) -> list[Faces]:
        """The faces of each picture, by descending score; boxes may reach beyond the picture.

        Args:
            images: H×W×3 BGR uint8 each, of any sizes.
            min_face: smallest faces to find in all of them, or in each; None: as the detector
                was made.

        Raises:
            ValueError: an image is not H×W×3 uint8, a ``min_face`` is below 12, or there are
                more or fewer of them than images.
        """
        sizes = [min_face] * len(images) if isinstance(min_face, int | None) else min_face
        if len(sizes) != len(images):
            raise ValueError(f"min_face has {len(sizes)} sizes for {len(images)} images")
        for image in images:
            _check_image(image)
        own = self._search
        searches = [own if size is None else replace(own, min_face=size) for size in sizes]
        return self._searcher.find(list(zip(images, searches, strict=True)))

    def close(self) -> None:
        """Free the networks."""
        self._searcher.close()


def open_mtcnn(settings: DetectorSettings, serving: Serving) -> Mtcnn:
    """MTCNN as the settings ask for it; see ``Mtcnn``."""
    return Mtcnn(
        mode=settings.mode,
        min_face=settings.min_face,
        factor=settings.factor,
        thresholds=settings.thresholds,
        serving=serving,
        kernels=settings.kernels,
    )


def _check_image(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image must be H×W×3, not {shape}; see core.images.to_bgr")
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, not {image.dtype}; see core.images.to_bgr")
    if image.size == 0:
        raise ValueError(f"image has no pixels: {image.shape}")


def _on_engines(
    serving: Serving, mode: Mode, search: Search, *, kernels: bool
) -> tuple[WorkerPool, str]:
    """A search on the host, with the networks on a backend, and that backend's name. ``auto`` takes
    the CPU: on a GPU every level and every stage would come back to the host."""
    auto = serving.backend == "auto" and serving.device != "cuda"
    choice = choose_backend(serving.backend, device="cpu" if auto else serving.device)
    check_strict(serving, choice.device, choice.reason)
    threads = serving.threads or usable_cpus()
    serving = replace(serving, backend=choice.name, device=choice.device, threads=threads)
    # Only on the CPU a network gains from several callers at a time.
    parts = 1 if choice.name == "tensorrt" or choice.device == "cuda" else threads
    problem = native.missing()
    in_c = None
    if auto and kernels and problem is None:
        in_c = KernelNetworks(native.Kernels(native.chosen()))

    def by_backend() -> Stages:
        return open_networks(serving, screen=mode == "fast", gate=NetworkGate, streams=parts)

    if in_c is None:
        stages = by_backend()
        for engine in stages.engines.values() if auto and kernels else ():
            cast(BaseEngine, engine).reason = problem or ""
        return WorkerPool(stages, parts), choice.name
    if mode == "fast" and computes_bfloat16():
        screened = by_backend()
        if screen_pays(in_c, screened, search):
            return WorkerPool(screened, parts), choice.name
        screened.close()
    return WorkerPool(in_c, parts), "kernels"


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
        return ResidentDetector(search, replace(serving, device="cuda"))
    except EngineError as error:
        no_other = serving.device == "cuda" or serving.strict
        if serving.backend == "torch" or (serving.backend == "auto" and no_other):
            raise
        log.warning("the detector does not stay on the GPU: %s", error)
        return None
