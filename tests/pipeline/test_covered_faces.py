"""Strangers with a mask or dark glasses get no name."""

from __future__ import annotations

from itertools import groupby, islice
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
from facestream.pipeline import FaceAnalyzer, Gallery
from facestream.pipeline.core.types import Floats, Image

ENROLLED, STRANGERS = 6, 4


def _people(shared_data: Path) -> list[tuple[str, Image]]:
    """A picture of each of the first people of LFW."""
    with ZipFile(shared_data / "lfw" / "lfw_grey.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        people = groupby(names, key=lambda name: name.split("/")[0])
        return [
            (person, np.asarray(cv2.imdecode(np.frombuffer(archive.read(next(own)), np.uint8), 1)))
            for person, own in islice(people, ENROLLED + STRANGERS)
        ]


def _fill(image: Image, corners: Floats, shade: int) -> None:
    cv2.fillConvexPoly(image, cv2.convexHull(corners.round().astype(np.int32)), (shade,) * 3)


def _masked(image: Image, landmarks: Floats) -> Image:
    """With a bright mask from the nose to below the chin."""
    left, right, nose, *mouth = landmarks
    across, middle = right - left, np.mean(mouth, axis=0)
    down = middle - (left + right) / 2
    sides = [nose, nose + 0.85 * across, middle + 0.95 * across, middle + 0.5 * across + 0.8 * down]
    painted = image.copy()
    mirrored = [nose - 0.85 * across, middle - 0.95 * across, middle - 0.5 * across + 0.8 * down]
    _fill(painted, np.array(sides + mirrored), 200)
    return painted


def _in_dark_glasses(image: Image, landmarks: Floats) -> Image:
    painted = image.copy()
    left, right = landmarks[:2]
    across = right - left
    up = np.array((across[1], -across[0]))
    for eye in (left, right):
        corners = [eye + x * across + y * up for x in (-0.42, 0.42) for y in (-0.28, 0.28)]
        _fill(painted, np.array(corners), 25)
    return painted


def test_covered_strangers_stay_unknown(shared_data: Path, tmp_path: Path) -> None:
    people = _people(shared_data)
    reasons = []
    with Gallery(tmp_path / "people.db") as gallery:
        for name, picture in people[:ENROLLED]:
            gallery.add(name, picture)
        with FaceAnalyzer(gallery=gallery) as analyzer:
            for _, picture in people[ENROLLED:]:
                landmarks = analyzer.analyze(picture).faces.landmarks[0]
                for cover in (_masked, _in_dark_glasses):
                    found = analyzer.analyze(cover(picture, landmarks))
                    reasons += [identity.reason for identity in found.identities]
    assert len(reasons) > STRANGERS
    assert set(reasons) <= {"below_threshold", "uncertain"}
