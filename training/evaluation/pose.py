"""Turned heads: verification of held-out people across pose.

LFW is mostly frontal. CelebA's labelled people are not, and those that the split holds out were
never trained on: their pairs are sorted by how far the heads are turned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from numpy.typing import NDArray

from ..data.cache import cached_rows
from ..data.cutter import main_faces
from ..data.face_sets import FaceRow, read_chunks, sha256_of
from .embeddings import Floats
from .lfw import MIN_FACE
from .protocol import Interval, threshold_at_fmr, wilson

PairKind = Literal["frontal-frontal", "frontal-turned", "turned-turned", "opposite sides"]
PAIR_KINDS: Final[tuple[PairKind, ...]] = get_args(PairKind)
# |turn| (see ``turn``) up to which a head counts as frontal, and from which as turned: about 10°
# and 25° of yaw for an average face.
FRONTAL: Final = 0.12
TURNED: Final = 0.3


@dataclass(frozen=True, slots=True)
class PoseRow:
    """Figures of one kind of pairs.

    Attributes:
        kind: which pairs. genuine: how many of one person.
        tar: share accepted at the threshold that accepts 0.1 % of all impostor pairs, whatever
            their pose.
        similarity: mean over the genuine pairs.
    """

    kind: PairKind
    genuine: int
    tar: Interval
    similarity: float


def turn(landmarks: Floats) -> Floats:
    """How far heads are turned, from five landmarks (N×5×2), N float32 in about −1..1.

    (d_right − d_left) / (d_right + d_left) of the nose's distances to the eyes along the line of
    the eyes: 0 is frontal, ±1 has the nose below one eye.
    """
    left, right, nose = landmarks[:, 0], landmarks[:, 1], landmarks[:, 2]
    axis = right - left
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    axis = axis / np.maximum(length, 1e-6)
    along = ((nose - left) * axis).sum(axis=1) / np.maximum(length[:, 0], 1e-6)
    return np.asarray(1.0 - 2.0 * along, np.float32)


def read_turns(
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    cache: Path,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Floats:
    """The turn of each picture's head (N), NaN where our detector finds no face in the cut.

    The result is kept in ``cache``; ``progress`` is called with the number of pictures just done.
    """

    def make(missing: Sequence[FaceRow]) -> Floats:
        turns = []
        with Mtcnn(min_face=MIN_FACE, serving=Serving(threads=threads)) as detector:
            for chunk in read_chunks(folder, missing, size=16, progress=progress):
                pictures = [np.ascontiguousarray(picture[:, :, ::-1]) for picture in chunk]
                turns += [
                    float(turn(face.landmarks)[0]) if len(face) else float("nan")
                    for face in main_faces(detector, pictures)
                ]
        return np.array(turns)

    return cached_rows(
        rows,
        make,
        file=lambda name: cache / f"turns_{name}.npz",
        key=lambda name: sha256_of(folder / f"{name}.csv"),
    ).astype(np.float32)


def measure_pose(
    unit: Floats, person: Sequence[str], turns: Floats, *, fmr: float = 1e-3
) -> list[PoseRow]:
    """Verification by the pose of both pictures.

    Args:
        unit: N×D, L2-normalised embeddings.
        person: N labels.
        turns: N, see ``turn``; pictures with NaN are left out.
        fmr: for the one threshold that all kinds share.
    """
    known = ~np.isnan(turns)
    unit, turns = unit[known], turns[known]
    names = np.asarray(person)[known]
    same = names[:, None] == names[None]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    similarity = unit @ unit.T
    threshold = threshold_at_fmr(similarity[~same & upper], fmr)
    frontal = np.abs(turns) <= FRONTAL
    turned = np.abs(turns) >= TURNED
    opposite = turns[:, None] * turns[None] < 0
    both = turned[:, None] & turned[None]
    chosen: dict[PairKind, NDArray[np.bool_]] = {
        "frontal-frontal": frontal[:, None] & frontal[None],
        "frontal-turned": (frontal[:, None] & turned[None]) | (turned[:, None] & frontal[None]),
        "turned-turned": both & ~opposite,
        "opposite sides": both & opposite,
    }
    table = []
    for kind in PAIR_KINDS:
        values = similarity[same & upper & chosen[kind]]
        table.append(
            PoseRow(
                kind=kind,
                genuine=len(values),
                tar=wilson(int((values >= threshold).sum()), len(values)),
                similarity=float(values.mean()) if len(values) else float("nan"),
            )
        )
    return table
