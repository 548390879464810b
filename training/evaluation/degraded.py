"""Degraded LFW: a probe of every pair degraded in its photo, then detected and aligned as ever.

Degrading the photo and not the aligned face keeps the measurement honest: landmarks move on poor
pictures, and what the detector does not find never reaches the encoder (it is counted apart, as a
failure to acquire).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces
from numpy.typing import NDArray

from ..data.cache import Arrays, cached_arrays
from ..data.cutter import main_faces
from ..data.degrade import degrade_randomly
from .embeddings import Floats
from .lfw import MIN_FACE, Pairs, cache_key, open_zip, read_picture

# How strong the degradations may get: the highest level drawn (``data.degrade``).
SEVERITIES: Final[dict[str, float]] = {"moderate": 0.5, "severe": 1.0}
# The part of LFW's 250×250 pictures that the 112×112 template covers (rows, columns): 140 px.
FACE_REGION: Final = (slice(60, 200), slice(55, 195))


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """The degraded right pictures of N pairs, those that the detector found a face in.

    Attributes:
        pair: M indices of the pairs.
        faces: M×112×112×3 BGR uint8, aligned.
        scores: M, the detector's.
        sizes: M, shorter side of the box in pixels.
        lost: pairs whose degraded picture shows the detector no face.
    """

    pair: NDArray[np.int64]
    faces: Image
    scores: Floats
    sizes: Floats
    lost: int


def read_probes(
    folder: Path,
    pairs: Pairs,
    *,
    strength: float,
    cache: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Probes:
    """Degrade, detect and align the right picture of each pair, the same way each time.

    Args:
        folder: holds ``lfw_grey.zip``.
        strength: the highest level of degradation, 0..1.

    Raises:
        DataError: the zip or a picture is missing or damaged.
    """
    names = [pairs.names[i] for i in pairs.right]

    def make() -> Arrays:
        found, crops, scores, sizes = [], [], [], []
        with (
            open_zip(folder / "lfw_grey.zip") as archive,
            Mtcnn(min_face=MIN_FACE, serving=Serving()) as detector,
        ):
            for start in range(0, len(names), 16):
                pictures = [
                    degrade_face(read_picture(archive, name), strength, number)
                    for number, name in enumerate(names[start : start + 16], start=start)
                ]
                for i, face in enumerate(main_faces(detector, pictures)):
                    if len(face):
                        found.append(start + i)
                        crops.append(align_faces(pictures[i], face.landmarks)[0])
                        scores.append(face.scores[0])
                        sizes.append((face.boxes[0, 2:] - face.boxes[0, :2]).min())
                progress(len(pictures))
        return {
            "pair": np.array(found, np.int64),
            "faces": np.array(crops, np.uint8).reshape(-1, 112, 112, 3),
            "scores": np.array(scores, np.float32),
            "sizes": np.array(sizes, np.float32),
        }

    file = None if cache is None else cache / f"lfw_degraded_{strength:g}_{cache_key(names)}.npz"
    arrays = cached_arrays(file, make)
    return Probes(**arrays, lost=len(names) - len(arrays["pair"]))


def degrade_face(picture: Image, strength: float, number: int) -> Image:
    """An LFW picture (250×250×3) with the part that holds the face degraded, by pair number."""
    degraded = picture.copy()
    rng = np.random.default_rng((7, number))
    degraded[FACE_REGION] = degrade_randomly(picture[FACE_REGION], rng, strength=strength)[0]
    return degraded
