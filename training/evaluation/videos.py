"""Open-set identification in video, made of LFW: who is enrolled, the clips, the faces in them.

For evaluation only. People are split in two by their names, so that what is chosen on the
``dev`` half (how to fuse, where to cut) is measured on people never seen in the choice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.options import Serving
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.recognition.align import align_faces
from facestream.pipeline.recognition.quality import quality
from numpy.typing import NDArray

from ..data.cache import Arrays, cached_arrays
from ..data.cutter import DETECTOR_NETS
from ..errors import DataError
from .clips import VERSION, Clip, ClipRules, render_clip
from .lfw import Half, half_of, open_zip, person_of, read_picture

# A detection is the clip's person when it overlaps the place where that face was put.
_OVERLAP: Final = 0.2
# Side of the smallest faces that the detector finds, px.
MIN_FACE: Final = 24


@dataclass(frozen=True, slots=True)
class Trial:
    """Who is enrolled and which clips are shown.

    Attributes:
        enrolled: G pictures (members of LFW's zip), one a person.
        clips: N pictures that clips are made of; none of them is enrolled.
        truth: N, row of ``enrolled``, −1 for a stranger.
        seed: of the clips.
    """

    enrolled: tuple[str, ...]
    clips: tuple[str, ...]
    truth: tuple[int, ...]
    seed: int

    @property
    def people(self) -> NDArray[np.int64]:
        """N, whose each clip is: enrolled people by their row, strangers numbered on."""
        names = [person_of(clip) for clip in self.clips]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def draw_trial(
    names: Sequence[str],
    *,
    half: Half,
    enrolled: int,
    strangers: int,
    clips_each: int = 2,
    seed: int = 0,
) -> Trial:
    """Draw people, the picture each is enrolled by, and the pictures that become clips.

    Args:
        names: members ``<person>/<picture>``.
        half: which half of the people.
        enrolled: people with one picture in the gallery and clips of others.
        strangers: people with one clip each who are not enrolled.
        clips_each: clips of an enrolled person at the most.

    Raises:
        DataError: there are not as many people.
    """
    rng = np.random.default_rng((seed, 0 if half == "dev" else 1))
    by_person: dict[str, list[str]] = {}
    for name in sorted(names):
        by_person.setdefault(person_of(name), []).append(name)
    mine = [p for p in by_person if half_of(p) == half]
    several = [p for p in mine if len(by_person[p]) > 1]
    if len(several) < enrolled or len(mine) - enrolled < strangers:
        raise DataError(
            f"the {half} half has {len(several)} people with several pictures of {len(mine)}: too "
            f"few for {enrolled} enrolled and {strangers} strangers; ask for fewer"
        )
    known = [several[i] for i in rng.permutation(len(several))[:enrolled]]
    others = sorted(set(mine) - set(known))
    gallery, clips, truth = [], [], []
    for row, person in enumerate(known):
        order = [by_person[person][i] for i in rng.permutation(len(by_person[person]))]
        gallery.append(order[0])
        clips += order[1 : 1 + clips_each]
        truth += [row] * len(order[1 : 1 + clips_each])
    for i in rng.permutation(len(others))[:strangers]:
        pictures = by_person[others[i]]
        clips.append(pictures[int(rng.integers(len(pictures)))])
        truth.append(-1)
    return Trial(tuple(gallery), tuple(clips), tuple(truth), seed)


@dataclass(frozen=True, slots=True, eq=False)
class ClipFaces:
    """The faces found in the clips, M in all, by clip and frame.

    Attributes:
        crops: M×112×112×3 BGR uint8, aligned.
        clip: M, row of the trial's clips. A clip in which nothing was found has none.
        frame: M, number of the frame within its clip.
        quality: M, ``vision.quality`` of the detection.
        fps: frames a second.
    """

    crops: Image
    clip: NDArray[np.int64]
    frame: NDArray[np.int64]
    quality: Floats
    fps: float


def watch(
    folder: Path,
    trial: Trial,
    *,
    rules: ClipRules,
    cache: Path | None = None,
    threads: int | None = None,
    min_face: int = MIN_FACE,
    progress: Callable[[int], None] = lambda done: None,
) -> ClipFaces:
    """Render the clips, find the faces (MTCNN) and align them.

    Args:
        folder: holds ``lfw_grey.zip``.
        trial: the clips.
        min_face: of the detector, px.

    Raises:
        DataError: the zip or a picture is missing or damaged, or no face was found at all.
    """

    def make() -> Arrays:
        parts: list[tuple[Image, NDArray[np.int64], Floats]] = []
        with (
            open_zip(folder / "lfw_grey.zip") as archive,
            Mtcnn(mode="fast", min_face=min_face, serving=Serving(threads=threads)) as detector,
        ):
            for number, name in enumerate(trial.clips):
                rng = np.random.default_rng((trial.seed, number))
                clip = render_clip(read_picture(archive, name), rng, rules=rules)
                parts.append(_find(detector, clip))
                progress(1)
        counts = [len(part[0]) for part in parts]
        if sum(counts) == 0:
            raise DataError(f"no face was found in any of {len(parts)} clips; see contact_sheet")
        return {
            "grey": np.concatenate([part[0] for part in parts]),
            "clip": np.repeat(np.arange(len(parts)), counts),
            "frame": np.concatenate([part[1] for part in parts]),
            "quality": np.concatenate([part[2] for part in parts]),
        }

    name = f"clips_{clip_faces_key(trial, rules, min_face)}.npz"
    arrays = cached_arrays(None if cache is None else cache / name, make)
    return ClipFaces(
        crops=np.repeat(arrays["grey"][..., None], 3, axis=3),
        clip=arrays["clip"],
        frame=arrays["frame"],
        quality=arrays["quality"],
        fps=rules.fps,
    )


def clip_faces_key(trial: Trial, rules: ClipRules, min_face: int = MIN_FACE) -> str:
    """Changes with the clips and with the detector's networks."""
    text = json.dumps(
        [VERSION, asdict(trial), asdict(rules), min_face]
        + [load_card(net).sha256 for net in DETECTOR_NETS]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _find(detector: Mtcnn, clip: Clip) -> tuple[Image, NDArray[np.int64], Floats]:
    """The person's face in each frame where it is found: grey crops, frames' numbers, quality."""
    crops, frames, values = [], [], []
    found = detector.detect_batch(list(clip.frames))
    for number, (image, faces) in enumerate(zip(clip.frames, found, strict=True)):
        row = _subject(faces, clip.boxes[number])
        if row is not None:
            crops.append(align_faces(image, faces.landmarks[[row]])[0, :, :, 0])
            frames.append(number)
            values.append(float(quality(faces)[row]))
    return (
        np.array(crops, np.uint8).reshape(-1, 112, 112),
        np.array(frames, np.int64),
        np.array(values, np.float32),
    )


def _subject(faces: Faces, box: Floats) -> int | None:
    if not len(faces):
        return None
    overlap = iou_matrix(faces.boxes, box[None])[:, 0]
    best = int(np.argmax(overlap))
    return best if overlap[best] >= _OVERLAP else None


def contact_sheet(
    folder: Path, trial: Trial, rules: ClipRules, *, rows: int = 12, columns: int = 8
) -> Image:
    """Frames of some clips, a clip a row: rows·H × columns·W × 3 BGR."""
    numbers = np.linspace(0, len(trial.clips) - 1, rows).astype(int)
    shown = np.linspace(0, rules.frames - 1, columns).astype(int)
    strips = []
    with open_zip(folder / "lfw_grey.zip") as archive:
        for number in numbers:
            rng = np.random.default_rng((trial.seed, int(number)))
            picture = read_picture(archive, trial.clips[number])
            clip = render_clip(picture, rng, rules=rules)
            strips.append(np.concatenate(list(clip.frames[shown]), axis=1))
    return np.asarray(cv2.vconcat(strips), np.uint8)
