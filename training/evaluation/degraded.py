"""Degraded LFW: a probe of every pair spoilt in its photo, then detected and aligned as ever.

Spoiling the photo and not the aligned face keeps the measurement honest: landmarks move on poor
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

from ..data.degrade import degrade_randomly
from .lfw import (
    MIN_FACE,
    Pairs,
    cache_key,
    choose_face,
    open_zip,
    read_picture,
)

Floats = NDArray[np.float32]
# How strong the degradations may get: the highest level drawn (``data.degrade``).
SEVERITIES: Final[dict[str, float]] = {"moderate": 0.5, "severe": 1.0}
# The part of LFW's 250×250 pictures that the 112×112 template covers (rows, columns): 140 px.
FACE_REGION: Final = (slice(60, 200), slice(55, 195))


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """The spoilt right pictures of N pairs, those that the detector found a face in.

    Attributes:
        pair: M indices of the pairs.
        faces: M×112×112×3 BGR uint8, aligned.
        scores: M, the detector's.
        sizes: M, shorter side of the box in pixels.
        lost: pairs whose spoilt picture shows the detector no face.
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
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Probes:
    """Spoil, detect and align the right picture of each pair, the same way each time.

    Args:
        folder: holds ``lfw_grey.zip``.
        pairs: LFW's.
        strength: the highest level of degradation, 0..1.
        cache: folder that keeps the crops between calls.
        threads: CPU threads.
        progress: called with the number of pictures just done.

    Raises:
        DataError: the zip or a picture is missing or damaged.
    """
    file = None
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        names = [pairs.names[i] for i in pairs.right]
        file = cache / f"lfw_degraded_{strength:g}_{cache_key(names)}.npz"
        if file.is_file():
            with np.load(file) as saved:
                return Probes(
                    pair=saved["pair"],
                    faces=saved["faces"],
                    scores=saved["scores"],
                    sizes=saved["sizes"],
                    lost=len(pairs.right) - len(saved["pair"]),
                )
    probes = _make(folder, pairs, strength, threads, progress)
    if file is not None:
        partial = file.with_name(f".{file.name}")
        with partial.open("wb") as out:
            np.savez(
                out,
                pair=probes.pair,
                faces=probes.faces,
                scores=probes.scores,
                sizes=probes.sizes,
            )
        partial.replace(file)
    return probes


def spoil(picture: Image, strength: float, rng: np.random.Generator) -> Image:
    """An LFW picture (250×250×3) with the part that holds the face degraded."""
    spoilt = picture.copy()
    spoilt[FACE_REGION] = degrade_randomly(picture[FACE_REGION], rng, strength=strength)[0]
    return spoilt


def _make(
    folder: Path,
    pairs: Pairs,
    strength: float,
    threads: int | None,
    progress: Callable[[int], None],
) -> Probes:
    found, crops, scores, sizes = [], [], [], []
    with (
        open_zip(folder / "lfw_grey.zip") as archive,
        Mtcnn(min_face=MIN_FACE, serving=Serving(threads=threads)) as detector,
    ):
        for start in range(0, len(pairs.right), 16):
            numbers = range(start, min(start + 16, len(pairs.right)))
            pictures = [
                spoil(
                    read_picture(archive, pairs.names[pairs.right[i]]),
                    strength,
                    np.random.default_rng((7, i)),
                )
                for i in numbers
            ]
            for i, picture, faces in zip(
                numbers, pictures, detector.detect_batch(pictures), strict=True
            ):
                if not len(faces):
                    continue
                height, width = picture.shape[:2]
                best = choose_face(faces, width=width, height=height)
                box = faces.boxes[best]
                found.append(i)
                crops.append(align_faces(picture, faces.landmarks[best][None])[0])
                scores.append(float(faces.scores[best]))
                sizes.append(float(min(box[2] - box[0], box[3] - box[1])))
            progress(len(pictures))
    return Probes(
        pair=np.array(found, np.int64),
        faces=np.stack(crops) if crops else np.zeros((0, 112, 112, 3), np.uint8),
        scores=np.array(scores, np.float32),
        sizes=np.array(sizes, np.float32),
        lost=len(pairs.right) - len(found),
    )
