"""Small worlds for tests of recognition: people whose faces, places and looks are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from facestream.pipeline.core.events import TrackEvent
from facestream.pipeline.core.types import Faces, Floats, Frame, FrameResult, Image, Matches
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.hysteresis import HysteresisRules
from facestream.pipeline.identity.search import Matcher
from facestream.pipeline.stages.recognise import RecogniseStage
from facestream.pipeline.stages.rules import TrackingRules
from facestream.pipeline.stages.track_events import EmissionRules
from facestream.pipeline.tracking.embedding_schedule import EmbeddingPolicy

DIM = 32
SIDE = 60.0
POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)


@dataclass(frozen=True)
class Seen:
    """A face in a frame: where its left upper corner is, and whose it is (0 to 9)."""

    x: float
    y: float
    who: int


class Painted:
    """Embeds a face by the shade of its crop; ``noise`` turns each look a little."""

    def __init__(self, noise: float = 0.0) -> None:
        self.noise = noise
        self.rng = np.random.default_rng(3)
        self.faces = np.linalg.qr(self.rng.normal(size=(DIM, DIM)))[0].astype(np.float32)

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        who = [round(float(crop[50:62, 50:62].mean()) / 20) - 1 for crop in crops]
        mu = self.faces[who] + self.noise * self.rng.normal(size=(len(who), DIM)) / DIM**0.5
        return mu.astype(np.float32), np.full((len(who), DIM), -1, np.float32)


class People:
    """A gallery of the first people of `Painted`, that may change."""

    def __init__(self, painted: Painted, names: Sequence[str]) -> None:
        self.names = list(names)
        self.changed = False
        self.searches = 0
        self._painted = painted

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        self.searches += 1
        unit = mu / np.linalg.norm(mu, axis=1, keepdims=True)
        similar = unit @ self._painted.faces[: len(self.names)].T
        order = np.argsort(-similar, axis=1)[:, :k]
        names = tuple(tuple(self.names[int(i)] for i in row) for row in order)
        return Matches(np.take_along_axis(similar, order, 1), order.astype(np.int64) + 1, names)

    def templates(self) -> int:
        return len(self.names)

    def refresh(self) -> bool:
        changed, self.changed = self.changed, False
        return changed


def frame(index: int, *seen: Seen, every: int = 1, source: str = "clip") -> FrameResult:
    """A frame at 25 a second in which these faces are found."""
    image = np.full((360, 640, 3), 5, np.uint8)
    boxes = np.array([[s.x, s.y, s.x + SIDE, s.y + SIDE] for s in seen], np.float32).reshape(-1, 4)
    for s in seen:
        rows = slice(max(0, int(s.y)), max(0, int(s.y + SIDE)))
        image[rows, max(0, int(s.x)) : max(0, int(s.x + SIDE))] = 20 * (s.who + 1)
    taken = Frame(source, index, index / 25, 1000 + index / 25, 0.0, image)
    if index % every:
        return FrameResult(taken)
    landmarks = (boxes[:, None, :2] + POINTS * SIDE).astype(np.float32)
    found = Faces(boxes, np.full(len(seen), 0.99, np.float32), landmarks)
    return FrameResult(taken, faces=found, detected=True)


def recogniser(
    events: list[TrackEvent],
    *,
    names: Sequence[str] = ("Ada", "Bob", "Cleo"),
    noise: float = 0.0,
    rules: TrackingRules | None = None,
) -> tuple[RecogniseStage, People]:
    """A stage over a world of `Painted` faces, and its gallery."""
    painted = Painted(noise)
    people = People(painted, names)
    stage = RecogniseStage(
        painted,
        Matcher(people, Thresholds(similarity=0.5)),
        rules=lambda source: rules or TrackingRules(),
        on_event=events.append,
        model="m",
    )
    return stage, people


def rules(
    *,
    confirm: int = 2,
    min_faces: int = 3,
    cooldown: float = 0.0,
    absence: float = 1.0,
    looks: EmbeddingPolicy | None = None,
    withhold_flat: bool = False,
) -> TrackingRules:
    """The rules that tests vary."""
    return TrackingRules(
        absence_seconds=absence,
        embedding=looks or EmbeddingPolicy(),
        hysteresis=HysteresisRules(confirm=confirm, withhold_flat=withhold_flat),
        emission=EmissionRules(min_faces=min_faces, cooldown=cooldown),
    )
