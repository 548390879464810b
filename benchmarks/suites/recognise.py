"""Tracking, deciding and events per frame, without the encoder.

The real stage with a synthetic encoder and gallery; the faces stand side by side and tremble. The
encoder and the cutting of its crops do not count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.types import Faces, Floats, Frame, FrameResult, Image, Matches
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.search import Matcher
from facestream.pipeline.stages.recognise import RecogniseStage
from facestream.pipeline.stages.rules import TrackingRules

from ..suite import Case, Options, Prepared, Suite

DIM = 512
FRAMES = 400
POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)


class RecogniseSuite(Suite):
    """See ``suite.Suite``."""

    name = "recognise"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Ours alone."""
        return ["facestream"], []

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Faces in the picture × ``detect_every``."""
        keys: list[dict[str, Scalar]] = [
            {"faces": faces, "detect_every": every}
            for every, faces in product((1, 4), (2, 5, 10, 20))
        ]
        return [Case(key, "frames/s") for key in keys if options.takes(key)], []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """Each step is a source of 400 frames."""
        faces, every = int(str(case.key["faces"])), int(str(case.key["detect_every"]))
        found, rules = frames(faces, every=every), TrackingRules()
        answer: dict[str, Scalar] = {}

        def step() -> tuple[float, float]:
            encoder = SyntheticEncoder(faces)
            stage = RecogniseStage(
                encoder,
                Matcher(encoder, Thresholds(similarity=0.4)),
                rules=lambda source: rules,
                on_event=lambda event: None,
                model="synthetic",
            )
            spent = []
            for result in found:
                encoder.seconds, start = 0.0, time.perf_counter()
                stage([result])
                spent.append(time.perf_counter() - start - encoder.seconds)
            answer["p95_ms"] = round(1000 * float(np.percentile(spent, 95)), 3)
            answer["embedded_per_face_and_second"] = round(
                stage.embedded / faces / (FRAMES / 25), 2
            )
            return len(spent), sum(spent)

        return Prepared(step, lambda: answer)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """The slow frames of the last step, and how often a face is embedded."""
        return {name: dict(answer) for name, answer in answers.items()}


class SyntheticEncoder:
    """Encoder and gallery: the shade of a face is its identity."""

    def __init__(self, people: int) -> None:
        self._rng = np.random.default_rng(1)
        faces = self._rng.normal(size=(people, DIM)).astype(np.float32)
        self._faces = faces / np.linalg.norm(faces, axis=1, keepdims=True)
        self.seconds = 0.0  # spent in embed

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        start = time.perf_counter()
        mu = self._faces[[round(float(crop[56, 56, 0]) / 10) for crop in crops]]
        noise = 0.02 * self._rng.normal(size=mu.shape)
        found = (mu + noise).astype(np.float32), np.full(mu.shape, -1, np.float32)
        self.seconds += time.perf_counter() - start
        return found

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        similar = mu / np.linalg.norm(mu, axis=1, keepdims=True) @ self._faces.T
        order = np.argsort(-similar, axis=1)[:, :k].astype(np.int64)
        names = tuple(tuple(f"person {i}" for i in row) for row in order)
        return Matches(np.take_along_axis(similar, order, 1), order, names)

    def templates(self) -> int:
        return len(self._faces)

    def refresh(self) -> bool:
        return False


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


SUITE = RecogniseSuite()
