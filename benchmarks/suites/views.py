"""Searching less of a frame: watched regions, smaller pictures, larger faces.

The contenders are the views; the first is the whole frame. Resizing and mapping back count. The
checks say how many faces are found of those that the whole frame has where the view looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.region import Region, View

from .. import DATA
from ..pictures import CROWD, frames, render
from ..suite import Case, Options, Prepared, Suite

CLIP = DATA / "videos" / "street_crowd_1080p.mp4"
PICTURES = 8
COLUMN = ((1 / 3, 0.0), (2 / 3, 0.0), (2 / 3, 1.0), (1 / 3, 1.0))
BAND = ((0.0, 1 / 3), (1.0, 1 / 3), (1.0, 2 / 3), (0.0, 2 / 3))


def views(height: int) -> dict[str, View]:
    """The whole first; faces from 1/18 of the picture's height, 40 pixels at 720."""
    least = height // 18
    sizes = {f"detect_size {size}": View(min_face=least, size=size) for size in _SIZES}
    return {
        "whole": View(min_face=least),
        "watch: middle third, full height": View(min_face=least, watch=(COLUMN,)),
        "watch: middle third, full width": View(min_face=least, watch=(BAND,)),
        **sizes,
        "min_face doubled": View(min_face=2 * least),
        "min_face doubled, detect_size 640": View(min_face=2 * least, size=640),
    }


_SIZES = (1920, 1280, 960, 640)


class ViewsSuite(Suite):
    """See ``suite.Suite``."""

    name = "views"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """All views."""
        return list(views(720)), []

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Frames of the first video (the crowded street if it is there) at two heights."""
        clip = options.videos[0] if options.videos else CLIP
        cases = []
        for height in (720,) if options.quick else (720, 2160):
            key: dict[str, Scalar] = {"height": height}
            if options.takes(key):
                path = options.folder / f"views-{height}.npy"
                np.save(
                    path,
                    frames(clip, height=height, count=PICTURES)
                    if clip.is_file()
                    else render((height * 16 // 9, height), CROWD, count=PICTURES),
                )
                cases.append(Case(key, "pictures/s", {"pictures": str(path)}))
        return cases, []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """One thread, one picture at a time."""
        pictures = np.load(case.given["pictures"])
        region = _region(contender, case, pictures)
        detector = Mtcnn(serving=Serving(threads=1))
        seen = 0

        def step() -> float:
            nonlocal seen
            search(region, pictures[seen % len(pictures)], detector)
            seen += 1
            return 1.0

        def answer() -> list[list[list[float]]]:
            return [search(region, picture, detector).boxes.tolist() for picture in pictures]

        return Prepared(step, answer, 2 * PICTURES, close=detector.close)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """Faces found of those that the whole has where the view looks."""
        if "whole" not in answers:
            return {}
        pictures = np.load(Path(case.given["pictures"]), mmap_mode="r")
        checks: dict[str, dict[str, Scalar]] = {}
        for name, found in answers.items():
            region = _region(name, case, pictures)
            pairs = [
                matched(_faces(own), region.counted(_faces(whole)))
                for own, whole in zip(found, answers["whole"], strict=True)
            ]
            checks[name] = {"found": sum(p[0] for p in pairs), "of": sum(p[1] for p in pairs)}
        return checks


def search(region: Region, image: Image, detector: Mtcnn) -> Faces:
    """The faces of a picture, as the detection stage finds them."""
    (found,) = detector.detect_batch([region.cut(image)], min_face=[region.min_face])
    return region.restore(found)


def matched(found: Faces, expected: Faces) -> tuple[int, int]:
    """How many of the expected faces were found (IoU above 0.5), and how many there are."""
    best = iou_matrix(expected.boxes, found.boxes).max(axis=1, initial=0.0)
    return int((best > 0.5).sum()), len(expected)


def _region(contender: str, case: Case, pictures: Any) -> Region:
    view = views(int(str(case.key["height"])))[contender]
    return view.region(*pictures.shape[1:3])


def _faces(boxes: list[list[float]]) -> Faces:
    """Boxes alone, for what compares boxes."""
    count = len(boxes)
    return Faces(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.ones(count, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )


SUITE = ViewsSuite()
