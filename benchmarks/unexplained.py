"""Whether the decoder tells what is no face, or a covered one, by what it cannot reconstruct.

    python -m benchmarks unexplained --json benchmarks/results/unexplained.json

200 labelled cases of each half of LFW: 100 faces as they are; 35 with sunglasses, 35 with a mask,
all drawn, and 30 that are none (backgrounds of the same pictures, noise, gradients). The scores of
each case are the errors of the reconstruction by region, and sigma; a logistic regression on the
``dev`` half makes the flag, and its figures are those of the ``test`` half. The flag would be part
of ``facestream why`` if it were right in 90 % of the cases, and in 90 % of what it flags.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.recognition.uncertainty import sigma
from facestream.training.evaluation.lfw import Half, open_zip, read_crops, read_picture
from facestream.training.generation.synthesis import Synthesis
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from . import DATA
from .gallery_check import picture_names
from .identify_video import CACHE

COUNTS = {"face": 100, "sunglasses": 35, "mask": 35, "no face": 30}
SCORES = ("eyes", "mouth", "face", "worst block", "contrast", "sigma")
LEAST = 0.9


def cases(lfw: Path, half: Half) -> tuple[Image, NDArray[np.str_]]:
    """The pictures N×112×112×3 BGR of a half, and what each is."""
    rng = np.random.default_rng(11)
    names = picture_names(lfw, half)
    faces = read_crops(lfw, names, cache=CACHE).faces
    order = rng.permutation(len(faces))
    pictures, kinds = [], []
    for kind in ("face", "sunglasses", "mask"):
        for row in order[: COUNTS[kind]]:
            pictures.append(_covered(faces[row].copy(), kind, rng))
            kinds.append(kind)
        order = order[COUNTS[kind] :]
    with open_zip(lfw / "lfw_grey.zip") as archive:
        for number, row in enumerate(order[: COUNTS["no face"]]):
            pictures.append(_pattern(read_picture(archive, names[row]), number % 3, rng))
            kinds.append("no face")
    return np.stack(pictures), np.array(kinds)


def _covered(face: Image, kind: str, rng: np.random.Generator) -> Image:
    """A face with sunglasses or a mask of a random shade, or as it is."""
    shade = int(rng.integers(5, 60) if kind == "sunglasses" else rng.integers(40, 245))
    colour = (shade, shade, shade)
    if kind == "sunglasses":
        width, height = int(rng.integers(13, 19)), int(rng.integers(8, 13))
        for x in (38, 74):
            cv2.ellipse(face, (x, 52), (width, height), 0, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.line(face, (50, 50), (62, 50), colour, 3, cv2.LINE_AA)
    elif kind == "mask":
        top = int(rng.integers(62, 74))
        outline = [(14, top + 2), (56, top - 6), (98, top + 2), (90, 104), (56, 111), (22, 104)]
        cv2.fillPoly(face, [np.array(outline, np.int32)], colour, cv2.LINE_AA)
    return face


def _pattern(picture: Image, which: int, rng: np.random.Generator) -> Image:
    """A corner of the picture, noise, or a gradient."""
    if which == 0:
        x, y = rng.choice([0, 190]), rng.choice([0, 190])
        return np.asarray(cv2.resize(picture[y : y + 60, x : x + 60], (112, 112)), np.uint8)
    if which == 1:
        grid = rng.integers(0, 255, (int(rng.integers(4, 28)),) * 2).astype(np.uint8)
        grey = cv2.resize(grid, (112, 112), interpolation=cv2.INTER_CUBIC)
    else:
        first, last = (float(shade) for shade in rng.integers(0, 255, 2))
        ramp = np.linspace(first, last, 112)
        grey = np.repeat(ramp[None], 112, axis=0).astype(np.uint8)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def scores(pictures: Image, synthesis: Synthesis) -> Floats:
    """N×S of ``SCORES``, of pictures N×112×112×3 BGR."""
    rgb = np.ascontiguousarray(pictures[..., ::-1])
    code = synthesis.encode(rgb)
    made = synthesis.decode(code.identity, code.appearance)
    error = np.abs(rgb.astype(np.float32) - made).mean(axis=3)
    _, logvar = synthesis.encoder.embed(pictures)
    blocks = error[:, 16:112, 16:96].reshape(len(error), 12, 8, 10, 8).mean(axis=(2, 4))
    columns = [
        error[:, 40:64, 20:92].mean(axis=(1, 2)),
        error[:, 76:106, 30:82].mean(axis=(1, 2)),
        error[:, 24:108, 16:96].mean(axis=(1, 2)),
        blocks.max(axis=(1, 2)),
        rgb[:, 24:108, 16:96].std(axis=(1, 2, 3)),
        sigma(logvar),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def judged(
    values: dict[str, Floats], kinds: dict[str, NDArray[np.str_]], columns: list[int]
) -> dict[str, Any]:
    """A flag that was fitted on the dev half, on the test half."""
    rule = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    rule.fit(values["dev"][:, columns], kinds["dev"] != "face")
    flagged = rule.predict(values["test"][:, columns])
    what = kinds["test"]
    right = flagged == (what != "face")
    return {
        "cases": len(what),
        "right": float(right.mean()),
        "of_flagged_right": float(right[flagged].mean()),
        "right_by_kind": {kind: float(right[what == kind].mean()) for kind in COUNTS},
        "reached": bool(min(right.mean(), right[flagged].mean()) >= LEAST),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks unexplained", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    values, kinds = {}, {}
    with Synthesis() as synthesis:
        for half in get_args(Half):
            pictures, kinds[half] = cases(given.data / "lfw", half)
            values[half] = scores(pictures, synthesis)
    everything = list(range(len(SCORES)))
    found = {
        "counts": COUNTS,
        "all_scores": judged(values, kinds, everything),
        "decoder_alone": judged(values, kinds, everything[:4]),
        "sigma_alone": judged(values, kinds, everything[-1:]),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0
