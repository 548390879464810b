"""The people in rendered scenes: from LFW, each with several pictures of the head.

For evaluation only: nobody of LFW was ever trained on. Half of those who are shown are enrolled,
from other pictures than those shown; others are enrolled and never shown, so that the gallery has
more than the right answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import TEMPLATE_112, align_faces
from numpy.typing import NDArray

from ..data.cutter import main_faces
from ..errors import DataError
from .lfw import MIN_FACE, half_of, open_zip, person_of, read_picture

# Pixels kept around the aligned face of 112×112: the whole head is in it.
MARGIN: Final = 64
HEAD_SIDE: Final = 112 + 2 * MARGIN
# Where the landmarks lie in a head's picture.
LANDMARKS: Final[NDArray[np.float32]] = TEMPLATE_112 + MARGIN
_ENROLLED_BY: Final = 2
_SHOWN: Final = 3
_LEAST_SCORE: Final = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """A person that scenes show.

    Attributes:
        name: as it is enrolled.
        enrolled: is in the gallery.
        heads: N×S×S×3 BGR uint8, aligned (see ``LANDMARKS``), none of them enrolled.
    """

    name: str
    enrolled: bool
    heads: Image


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """Everybody.

    Attributes:
        actors: those shown.
        gallery: name and pictures (H×W×3 BGR uint8) of everybody enrolled, shown or not.
    """

    actors: tuple[Actor, ...]
    gallery: tuple[tuple[str, tuple[Image, ...]], ...]


def draw_cast(
    folder: Path,
    *,
    shown: int,
    absent: int,
    seed: int,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Cast:
    """Draw people and their pictures from the ``test`` half of LFW.

    Args:
        folder: holds ``lfw_grey.zip``.
        shown: people in the scenes, every other one enrolled.
        absent: people who are enrolled by one picture and never shown.
        threads: CPU threads for the detector.

    Raises:
        DataError: the pictures are missing, or there are too few people.
    """
    rng = np.random.default_rng(seed)
    with (
        open_zip(folder / "lfw_grey.zip") as archive,
        Mtcnn(mode="fast", min_face=MIN_FACE, serving=Serving(threads=threads)) as detector,
    ):
        several, few = _people(archive)
        several = [several[i] for i in rng.permutation(len(several))]
        actors: list[Actor] = []
        gallery: list[tuple[str, tuple[Image, ...]]] = []
        for names in several:
            if len(actors) == shown:
                break
            found = list(_heads(archive, detector, names))
            if len(found) < _ENROLLED_BY + _SHOWN:
                continue
            name, enrolled = f"person {len(actors):02d}", len(actors) % 2 == 0
            split = _ENROLLED_BY if enrolled else 0
            actors.append(Actor(name, enrolled, np.stack([head for _, head in found[split:]])))
            if enrolled:
                gallery.append((name, tuple(picture for picture, _ in found[:split])))
            progress(1)
        if len(actors) < shown or len(few) < absent:
            raise DataError(
                f"LFW has {len(actors)} people with enough pictures and {len(few)} others; "
                f"{shown} and {absent} were asked for: ask for fewer"
            )
        for number, row in enumerate(rng.permutation(len(few))[:absent]):
            picture = read_picture(archive, few[row][0])
            gallery.append((f"absent {number:03d}", (picture,)))
            progress(1)
    return Cast(tuple(actors), tuple(gallery))


def _people(archive: ZipFile) -> tuple[list[list[str]], list[list[str]]]:
    """Pictures of people with many of them, and of people with few."""
    by_person: dict[str, list[str]] = {}
    for name in sorted(archive.namelist()):
        person = person_of(name)
        if half_of(person) == "test":
            by_person.setdefault(person, []).append(name)
    least = _ENROLLED_BY + _SHOWN
    several = [names for names in by_person.values() if len(names) >= least]
    few = [names for names in by_person.values() if len(names) < least]
    return several, few


def _heads(
    archive: ZipFile, detector: Mtcnn, names: Sequence[str]
) -> Iterator[tuple[Image, Image]]:
    """Pictures in which the person is clearly found, with the head cut out."""
    pictures = [read_picture(archive, name) for name in names[:12]]
    for picture, face in zip(pictures, main_faces(detector, pictures), strict=True):
        if len(face) and face.scores[0] >= _LEAST_SCORE:
            yield picture, align_faces(picture, face.landmarks, margin=MARGIN)[0]
