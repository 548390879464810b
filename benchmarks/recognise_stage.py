"""What following, deciding and telling cost a frame, without the encoder.

    python benchmarks/recognise_stage.py --json benchmarks/results/recognise_stage.json

The real stage with a made-up encoder and gallery; the faces stand side by side and tremble. Times
are without the encoder and the cutting out of its crops; of several rounds each frame's shortest
counts, so that other programs on the machine do not.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.core.types import (
    Faces,
    Floats,
    Frame,
    FrameResult,
    Image,
    Matches,
)
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.search import Matcher
from facestream.pipeline.stages.recognise import RecogniseStage
from facestream.pipeline.stages.rules import TrackingRules

DIM = 512
COUNTS = (2, 5, 10, 20)
FRAMES, ROUNDS = 400, 5
POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)


class Faked:
    """Encoder and gallery: a face's shade tells who it is. Counts the encoder's time."""

    def __init__(self, people: int) -> None:
        self._rng = np.random.default_rng(1)
        faces = self._rng.normal(size=(people, DIM)).astype(np.float32)
        self._faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        mu = self._faces[[round(float(crop[56, 56, 0]) / 10) for crop in crops]]
        noise = 0.02 * self._rng.normal(size=mu.shape)
        return (mu + noise).astype(np.float32), np.full(mu.shape, -1, np.float32)

    def search(self, mu: Floats, k: int) -> Matches:
        similar = mu / np.linalg.norm(mu, axis=1, keepdims=True) @ self._faces.T
        order = np.argsort(-similar, axis=1)[:, :k].astype(np.int64)
        names = tuple(tuple(f"person {i}" for i in row) for row in order)
        return Matches(np.take_along_axis(similar, order, 1), order, names)

    def templates(self) -> int:
        return len(self._faces)

    def refresh(self) -> bool:
        return False


class Untimed(RecogniseStage):
    """Knows the time its encoder took."""

    encoding = 0.0

    def _embed(self, pending: Any) -> list[tuple[Floats, Floats]]:
        start = time.perf_counter()
        found = super()._embed(pending)
        self.encoding += time.perf_counter() - start
        return found


def frames(faces: int, *, every: int) -> list[FrameResult]:
    """Frames at 25 a second, every ``every``-th of them searched."""
    rng = np.random.default_rng(7)
    place = np.stack([np.arange(faces) % 5 * 200 + 100, np.arange(faces) // 5 * 150 + 80], axis=1)
    image = np.zeros((720, 1280, 3), np.uint8)
    for who, (x, y) in enumerate(place):
        image[y - 60 : y + 60, x - 60 : x + 90] = 10 * who
    found = []
    for index in range(FRAMES):
        frame = Frame("camera", index, index / 25, 1000 + index / 25, 0.0, image)
        centre = place + rng.normal(0, 1.5, place.shape)
        boxes = np.concatenate([centre - 40, centre + 40], axis=1).astype(np.float32)
        points = boxes[:, None, :2] + POINTS * 80
        here = Faces(boxes, np.full(faces, 0.99, np.float32), points.astype(np.float32))
        searched = index % every == 0
        found.append(FrameResult(frame, here, detected=True) if searched else FrameResult(frame))
    return found


def cost(faces: int, *, every: int) -> dict[str, float]:
    """Milliseconds a frame, and looks a face and second."""
    rounds = [_round(faces, every=every) for _ in range(ROUNDS)]
    # The first second imports and begins the sightings.
    steady = np.min([spent for spent, _ in rounds], axis=0)[25:]
    return {
        "mean_ms": round(float(np.mean(steady)), 3),
        "p95_ms": round(float(np.percentile(steady, 95)), 3),
        "looks_per_face_and_second": round(rounds[0][1] / faces / (FRAMES / 25), 2),
    }


def _round(faces: int, *, every: int) -> tuple[list[float], int]:
    """The milliseconds of each frame, and how many faces were embedded."""
    faked, rules = Faked(faces), TrackingRules()
    stage = Untimed(
        faked,
        Matcher(faked, Thresholds(similarity=0.4)),
        rules=lambda source: rules,
        on_event=lambda event: None,
        model="faked",
    )
    spent = []
    for result in frames(faces, every=every):
        stage.encoding, start = 0.0, time.perf_counter()
        stage([result])
        spent.append(1000 * (time.perf_counter() - start - stage.encoding))
    return spent, stage.embedded


def main() -> int:
    """Measure all counts of faces, with every and with every fourth frame searched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = {}
    for every in (1, 4):
        for faces in COUNTS:
            results[f"{faces} faces, detect every {every}"] = found = cost(faces, every=every)
            print(f"{faces:3d} faces, detect every {every}: {found}", flush=True)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
