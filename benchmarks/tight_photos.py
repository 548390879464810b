"""Photos that are cut to the face: are they found, aligned, enrolled and recognised?

Pictures of LFW and turned heads of CelebA are cut to 100, 90 and 80 % of the face's box, centred
and off centre, and scaled to 48, 112 and 400 pixels. Landmarks are judged against those that the
exact detector finds in the whole picture. Pairs of a frontal and a turned picture, each cut to the
112×112 template, are told apart by LFW's protocol. ``cut`` searches as facenet-pytorch does, with
windows cut at the picture's edge; ``default`` is what users have: ``FaceAnalyzer``, and the rules
of the gallery.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.pipeline.analysis import FaceAnalyzer
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.gallery.faces import PhotoContent, main_face
from facestream.pipeline.recognition.uncertainty import normalise
from facestream.training.data.face_sets import FaceZips, centre_crop, read_folder
from facestream.training.evaluation.lfw import open_zip, read_picture
from facestream.training.evaluation.pose import FRONTAL, TURNED, turn
from facestream.training.evaluation.protocol import fold_accuracy

from . import DATA

SHARES = (1.0, 0.9, 0.8)
OFFSETS = ((0.0, 0.0), (0.15, 0.0), (0.0, 0.15), (-0.1, -0.1))
SIDES = (48, 112, 400)
SETS = ("celeba_labelled", "celeba_wild")
Find = Callable[[Image], Faces]


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture with the side of its face's box and the landmarks 5×2.

    Attributes:
        kind: ``frontal`` (LFW) or ``turned``.
        box: 4.
    """

    kind: str
    image: Image
    box: Floats
    landmarks: Floats

    def cut(self, share: float, offset: tuple[float, float], side: int) -> Photo:
        """This share of the box, moved by shares of its sides, with a longer side of ``side``."""
        size = self.box[2:] - self.box[:2]
        middle = (self.box[2:] + self.box[:2]) / 2 + np.array(offset) * size
        corners = np.concatenate([middle - size * share / 2, middle + size * share / 2])
        height, width = self.image.shape[:2]
        x1, y1, x2, y2 = np.clip(corners.round().astype(int), 0, (width, height) * 2)
        part = self.image[y1:y2, x1:x2]
        scale = side / max(part.shape[:2])
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(part, None, fx=scale, fy=scale, interpolation=way), np.uint8)
        box = (self.box - (x1, y1, x1, y1)) * scale
        return Photo(self.kind, image, box, (self.landmarks - (x1, y1)) * scale)

    def error(self, faces: Faces) -> float:
        """Mean distance of the nearest face's landmarks, in shares of its box; inf without one."""
        off = np.linalg.norm(faces.landmarks - self.landmarks, axis=-1).mean(axis=1)
        return float(off.min(initial=np.inf) / (self.box[2:] - self.box[:2]).max())


def frontal_photos(exact: Mtcnn, count: int, rng: np.random.Generator) -> Iterator[Photo]:
    """Pictures of LFW with the face in their middle."""
    with open_zip(DATA / "lfw" / "lfw_grey.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in rng.choice(names, count, replace=False):
            image = read_picture(archive, name)
            faces = exact.detect(image)
            if len(faces):
                middle = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
                row = int(np.argmin(np.linalg.norm(middle - 125, axis=1)))
                yield Photo("frontal", image, faces.boxes[row], faces.landmarks[row])


def celeba_photos(
    exact: Mtcnn, count: int, rng: np.random.Generator
) -> dict[str, list[tuple[Photo, float]]]:
    """Training faces by person, twice their size, with their turn."""
    rows = [row for row in read_folder(DATA / "train", datasets=SETS) if row.identity is not None]
    found = defaultdict(list)
    with FaceZips(DATA / "train") as zips:
        for index in rng.choice(len(rows), count, replace=False):
            small = zips.read(rows[index])[:, :, ::-1]
            double = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            image = np.asarray(double, np.uint8)
            border, mean = len(image), image.mean(axis=(0, 1))
            wide = np.tile(mean.astype(np.uint8), (3 * border, 3 * border, 1))
            wide[border:-border, border:-border] = image
            faces = exact.detect_batch([wide], min_face=80)[0].moved(-border, -border)
            if len(faces) == 1:
                photo = Photo("turned", image, faces.boxes[0], faces.landmarks[0])
                turned = float(turn(faces.landmarks)[0])
                found[str(rows[index].identity)].append((photo, turned))
    return found


def judge(cuts: Sequence[Photo], find: Find) -> dict[str, float]:
    """Shares found, and found with landmarks within a tenth of the face; the median error."""
    errors = np.array([cut.error(find(cut.image)) for cut in cuts])
    found = errors[np.isfinite(errors)]
    return {
        "photos": len(errors),
        "found": round(float(np.isfinite(errors).mean()), 4),
        "within_a_tenth": round(float((errors < 0.1).mean()), 4),
        "median_error": round(float(np.median(found)), 4) if len(found) else 1.0,
    }


def enrolled(cuts: Sequence[Photo], analyzer: FaceAnalyzer) -> dict[str, Any]:
    """The share that the gallery takes, of those whose face is not too small for it."""
    outcomes: dict[str, int] = defaultdict(int)
    for number, cut in enumerate(cuts):
        try:
            main_face(PhotoContent.load(cut.image, name=Path(str(number))), analyzer)
        except ImageError as error:
            outcomes[error.reason] += 1
        else:
            outcomes["accepted"] += 1
    fit = len(cuts) - outcomes["too_small"]
    return {**outcomes, "share": round(outcomes["accepted"] / max(fit, 1), 4)}


def pairs_of(people: dict[str, list[tuple[Photo, float]]]) -> tuple[list[Photo], list[Photo]]:
    """A frontal and a turned picture of each person that has both."""
    frontal, turned = [], []
    for pictures in people.values():
        straight = [photo for photo, angle in pictures if abs(angle) <= FRONTAL]
        aside = [photo for photo, angle in pictures if abs(angle) >= TURNED]
        if straight and aside:
            frontal.append(straight[0])
            turned.append(aside[0])
    return frontal, turned


def pair_accuracy(
    pairs: tuple[Sequence[Photo], Sequence[Photo]], find: Find, analyzer: FaceAnalyzer
) -> dict[str, float]:
    """Frontal against turned, one person and two, by LFW's protocol in ten folds."""
    sides = []
    for photos in pairs:
        mu = []
        for photo in photos:
            image = np.ascontiguousarray(_template(photo))
            faces = find(image)
            if not len(faces):  # like nobody
                mu.append(np.zeros(analyzer.encoder.dim, np.float32))
                continue
            best = faces.landmarks[faces.scores.argmax()]
            mu.append(analyzer.embed(analyzer.align(image, best[None]))[0][0])
        sides.append(normalise(np.array(mu, np.float32)))
    one, other = sides
    same = (one * other).sum(axis=1)
    strange = (one * np.roll(other, 1, axis=0)).sum(axis=1)
    fold = np.arange(len(one)) * 10 // len(one)
    genuine = np.repeat([True, False], len(one))
    found = fold_accuracy(np.concatenate([same, strange]), genuine, np.tile(fold, 2))
    return {"pairs": 2 * len(one), "accuracy": round(found.mean.value, 4)}


def _template(photo: Photo) -> Image:
    """The 112×112 template of a training face that was doubled."""
    small = cv2.resize(photo.image, (128, 128), interpolation=cv2.INTER_AREA)
    return centre_crop(np.asarray(small, np.uint8))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks tight-photos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cuts", type=int, default=1000, help="cut photos to judge")
    parser.add_argument("--faces", type=int, default=3000, help="faces of CelebA to look through")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    rng = np.random.default_rng(given.seed)
    with Mtcnn(mode="exact", min_face=20) as exact, FaceAnalyzer() as analyzer:
        people = celeba_photos(exact, given.faces, rng)
        aside = [p for known in people.values() for p, angle in known if abs(angle) >= TURNED]
        sources = [*frontal_photos(exact, 60, rng), *aside[:60]]
        ways = list(product(range(len(sources)), SHARES, OFFSETS, SIDES))
        drawn = [ways[index] for index in rng.permutation(len(ways))[: given.cuts]]
        cuts = [sources[who].cut(share, off, side) for who, share, off, side in drawn]
        finders: dict[str, Find] = {
            "cut": lambda image: exact.detect_batch([image], min_face=40)[0],
            "default": lambda image: analyzer.analyze(image).faces,
        }
        pairs = pairs_of(people)
        report: dict[str, Any] = {"machine": describe_machine(), "seed": given.seed}
        for name, find in finders.items():
            report[name] = {
                kind: judge([cut for cut in cuts if cut.kind == kind], find)
                for kind in ("frontal", "turned")
            } | {"pairs": pair_accuracy(pairs, find, analyzer)}
            print(name, json.dumps(report[name]), flush=True)
        report["enrolled"] = enrolled(cuts, analyzer)
        print("enrolled", json.dumps(report["enrolled"]), flush=True)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0
