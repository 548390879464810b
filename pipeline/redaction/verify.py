"""Searches what was written for faces that should be hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..analysis import FaceAnalyzer
from ..core.boxes import area, intersection_matrix
from ..core.types import Faces, Floats, Image
from ..identity.search import MatchQuery
from ..recognition.align import align_faces
from ..recognition.uncertainty import sigma
from .lines import Line
from .options import RedactionOptions
from .plan import Plan
from .reading import VideoReader
from .report import RedactionCheck

# A face lies within covers by so much of its box, and within a shown face's box.
_WITHIN = 0.5
# What the detector is surer of than this is a face.
_SURE = 0.9


def verify(
    written: Path, plan: Plan, analyzer: FaceAnalyzer, options: RedactionOptions
) -> RedactionCheck:
    """Detect and recognise in every so many frames of a redacted video.

    Raises:
        SourceError: it cannot be read.
        RedactionCancelled: see `RedactionOptions`.
    """
    check = _Check(plan, analyzer, margin=options.margin)
    with VideoReader(written) as reader:
        for number, frame in enumerate(reader.frames()):
            if number % options.verify:
                continue
            image = reader.converter.convert(frame)
            if image is not None:
                check.add(number, image)
            options.advance("verify", number, len(plan.times))
    return check.result()


class _Check:
    def __init__(self, plan: Plan, analyzer: FaceAnalyzer, *, margin: float) -> None:
        self._plan = plan
        self._analyzer = analyzer
        self._shown = _shown(plan)
        self._frames = self._detected = 0
        self._uncovered: list[float] = []
        self._recognised: list[float] = []

    def add(self, number: int, image: Image) -> None:
        """One frame of what was written."""
        self._frames += 1
        faces = self._analyzer.detect(image)
        faces = faces.take(faces.scores >= _SURE)
        if not len(faces):
            return
        at = round(self._plan.times[number] - self._plan.times[0], 3)
        hidden = share_within(faces.boxes, self._plan.covers(number)) >= _WITHIN
        shown = self._shown.get(number, [])
        seen = share_within(faces.boxes, np.array(shown, np.float32).reshape(-1, 4)) >= _WITHIN
        if (~hidden & ~seen).any():
            self._uncovered.append(at)
        within = faces.take(hidden & ~seen)
        self._detected += len(within)
        if len(within) and names(self._analyzer, image, within):
            self._recognised.append(at)

    def result(self) -> RedactionCheck:
        return RedactionCheck(
            self._frames, tuple(self._uncovered), tuple(self._recognised), self._detected
        )


def _shown(plan: Plan) -> dict[int, list[Floats]]:
    """By frame, the boxes of faces that are not covered."""
    shown: dict[int, list[Floats]] = {}
    for line, covered in plan.covered.items():
        _add(line, covered, shown)
    return shown


def _add(line: Line, covered: set[int], shown: dict[int, list[Floats]]) -> None:
    for frame, box in line.boxes.items():
        if frame not in covered:
            shown.setdefault(frame, []).append(box)


def names(analyzer: FaceAnalyzer, image: Image, faces: Faces) -> list[str]:
    """The people that the faces of a picture are taken for."""
    mu, logvar = analyzer.embed(align_faces(image, faces.landmarks))
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1)
    queries = [
        MatchQuery(row, float(one), float(side))
        for row, one, side in zip(analyzer.matcher.search(mu), sigma(logvar), sides, strict=True)
    ]
    return [one.name for one in analyzer.matcher.decide(queries) if one.name is not None]


def share_within(boxes: Floats, covers: Floats) -> Floats:
    """The largest share N of each box N×4 that lies in one of the covers M×4."""
    if not len(covers):
        return np.zeros(len(boxes), np.float32)
    shared = intersection_matrix(boxes, covers).max(axis=1)
    return np.asarray(shared / np.maximum(area(boxes), 1e-6), np.float32)
