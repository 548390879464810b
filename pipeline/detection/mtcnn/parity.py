"""The gate of the detector: its boxes on portraits and scenes, against the float32 cascade."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Final

import cv2
import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import load_card, model_path
from facestream.engines.options import EngineOptions
from facestream.engines.parity import Verdict
from facestream.engines.registry import load_engine

from ...core.boxes import iou_matrix
from ...core.types import Faces, Floats, Image
from ..portraits import portraits
from .cascade import Search, WorkerPool, find_faces
from .networks import Network, Networks

NETWORKS: Final[tuple[Network, ...]] = ("mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet")
Detect = Callable[[Image], Faces]

OVERLAP: Final = 0.95
MEDIAN: Final = 0.99
_VERSION = 1

# Boxes that overlap less are of different faces.
_SAME = 0.5
# Smallest face that is searched for in the scenes, in pixels.
MIN_FACE: Final = 20

# A picture's height and width, and for each face in it: which portrait, its side in pixels (the
# face is 0.48 of it), its left and top, whether mirrored, and its brightness.
_Face = tuple[int, int, int, int, bool, float]
_SCENES: Final[tuple[tuple[int, int, tuple[_Face, ...]], ...]] = (
    (208, 208, ((0, 208, 0, 0, False, 1.0),)),
    (208, 208, ((1, 208, 0, 0, True, 1.0),)),
    (
        360,
        640,
        (
            (0, 208, 20, 20, True, 1.0),
            (1, 150, 250, 40, False, 0.8),
            (0, 104, 420, 30, False, 0.6),
            (1, 84, 540, 30, True, 1.0),
            (1, 180, 420, 170, False, 1.0),
            (0, 120, 260, 220, True, 1.0),
            (1, 96, 60, 245, True, 0.5),
        ),
    ),
)

_SEARCH = Search(MIN_FACE, 0.709, (0.6, 0.7, 0.7))


class NetworkGate:
    """Puts a network in its place in the cascade, the other two being the float32 ones.

    Figures: ``iou_min`` and ``iou_median`` of the boxes with the reference's, ``faces`` of the
    reference, those ``missing`` and those ``extra``.

    Args:
        network: which of the three.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    @property
    def key(self) -> str:
        cascade = "-".join(load_card(name).sha256[:8] for name in NETWORKS)
        return f"{self._network}-{_VERSION}-{_digest()[:16]}-{cascade}-{OVERLAP}-{MEDIAN}"

    def judge(self, engine: Engine) -> Verdict:
        with ExitStack() as stack:
            engines: dict[str, Engine] = {
                name: stack.enter_context(_exact(name))
                for name in NETWORKS
                if name != self._network
            }
            engines[self._network] = engine
            return judge_detector(_cascade(engines))


def judge_detector(detect: Detect) -> Verdict:
    """The verdict on a whole detector; for the figures see ``NetworkGate``.

    ``detect`` finds the faces of a picture H×W×3 BGR uint8, down to ``MIN_FACE``, with the usual
    thresholds and factor.
    """
    return compare([detect(image).boxes for image in scenes()], _reference())


def compare(found: Sequence[Floats], expected: Sequence[Floats]) -> Verdict:
    """The verdict on boxes N×4 of several pictures, against M×4 of each."""
    shared: list[float] = []
    missing = extra = 0
    for boxes, truth in zip(found, expected, strict=True):
        # What is not finite overlaps nothing: it is an extra, and its face is missing.
        table = iou_matrix(truth, np.nan_to_num(boxes, posinf=0, neginf=0))
        extra += len(boxes)
        while table.size and table.max() >= _SAME:
            row, column = np.unravel_index(np.argmax(table), table.shape)
            shared.append(float(table[row, column]))
            table[row], table[:, column] = 0, 0
            extra -= 1
        missing += len(truth)
    missing -= len(shared)
    figures = {
        "faces": float(sum(map(len, expected))),
        "iou_min": min(shared, default=0.0),
        "iou_median": float(np.median(shared)) if shared else 0.0,
        "missing": float(missing),
        "extra": float(extra),
    }
    judged = Verdict.of(figures, {"iou_min": OVERLAP, "iou_median": MEDIAN})
    lost = (f"{count} {name}" for name, count in (("missing", missing), ("extra", extra)) if count)
    return Verdict(figures, judged.refused + tuple(lost))


@cache
def _reference() -> tuple[Floats, ...]:
    """Boxes of the float32 cascade on a CPU, for each scene."""
    with ExitStack() as stack:
        detect = _cascade({name: stack.enter_context(_exact(name)) for name in NETWORKS})
        return tuple(detect(image).boxes for image in scenes())


def _exact(name: str) -> Engine:
    options = EngineOptions(precision="float32", threads=1)
    return load_engine(model_path(name), backend="openvino", options=options)


def _cascade(engines: dict[str, Engine]) -> Detect:
    pnet, rnet, onet = (engines[name] for name in NETWORKS)
    pool = WorkerPool(Networks(pnet, rnet, onet))
    return lambda image: find_faces(image, _SEARCH, pool)


@cache
def scenes() -> tuple[Image, ...]:
    """H×W×3 BGR uint8 each; not to be written to."""
    return tuple(_scene(*scene) for scene in _SCENES)


@cache
def _digest() -> str:
    """SHA-256 of the scenes: they differ where OpenCV decodes or resizes otherwise."""
    return hashlib.sha256(b"".join(image.tobytes() for image in scenes())).hexdigest()


def _scene(height: int, width: int, faces: tuple[_Face, ...]) -> Image:
    # A slope of grey with some grain: neither flat nor full of edges.
    slope = np.linspace(60, 180, width)[None, :, None] + np.linspace(-30, 30, height)[:, None, None]
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 3))
    picture = np.clip(slope + grain, 0, 255).astype(np.uint8)
    for who, side, left, top, mirrored, light in faces:
        image = portraits()[who].image
        image = image[:, ::-1] if mirrored else image
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        picture[top : top + side, left : left + side] = np.round(small * light)
    picture.setflags(write=False)
    return picture
