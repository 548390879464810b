"""Trackers of faces side by side, on simulated walks: IDF1, identity switches, frames/s.

A scene has faces of known identity that walk, stop, turn round and cross (the one behind is
hidden), boxes with noise, faces that are missed and boxes without a face. Trackers see boxes and
times alone.

norfair needs numpy < 2 and trackers needs opencv-python, so they are installed beside facestream:

    pip install --no-deps --target LIBS norfair filterpy trackers supervision matplotlib \
        contourpy cycler fonttools kiwisolver pyparsing python-dateutil pydeprecate requests \
        defusedxml pyyaml tqdm six urllib3 idna certifi charset-normalizer packaging pillow
    PYTHONPATH=LIBS python -m benchmarks suite track
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.types import Floats
from facestream.pipeline.tracking.tracker import SourceTracker
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..peers import lacks_modules
from ..suite import Case, Options, Prepared, Suite, sort_out

FPS = 25.0
ABSENCE = 1.0
WIDTH, HEIGHT = 1280.0, 720.0
PEOPLE, SCENES = 4, 12
SEED = 100


@dataclass(frozen=True, slots=True)
class Step:
    """A searched frame: time, boxes N×4, scores N, and the identity of each (−1: no face)."""

    pts: float
    boxes: Floats
    scores: Floats
    truth: NDArray[np.int64]


class Tracker(Protocol):
    """Numbers the boxes of a frame; −1 for none."""

    def update(self, step: Step) -> NDArray[np.int64]: ...


class TrackSuite(Suite):
    """See ``suite.Suite``."""

    name = "track"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Ours, and the libraries that can be imported."""
        found: dict[str, Missing | None] = {}
        for name in MAKERS:
            if name == "facestream" or options.peers:
                modules = () if name == "facestream" else (name.split()[0].strip(","),)
                found[name] = lacks_modules(self.name, name, modules, "see benchmarks/suites/track")
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Scenes of four people by ``detect_every``, and rows of faces for the time alone."""
        keys: list[dict[str, Scalar]] = [{"detect_every": n} for n in (1, 2, 4, 8)]
        keys += [{"faces": n} for n in (2, 5, 10, 20)]
        scenes = 3 if options.quick else SCENES
        return [Case(k, "frames/s", {"scenes": scenes}) for k in keys if options.takes(k)], []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """Each step is all frames of all scenes."""
        warnings.simplefilter("ignore")
        every = int(str(case.key.get("detect_every", 1)))
        if "faces" in case.key:
            scenes = [faces_in_rows(int(str(case.key["faces"])))]
        else:
            scenes = [scene(SEED + n, PEOPLE, every=every) for n in range(case.given["scenes"])]
        numbers: list[list[NDArray[np.int64]]] = []

        def step() -> tuple[float, float]:
            numbers.clear()
            trackers = [MAKERS[contender](every) for _ in scenes]
            start = time.perf_counter()
            for tracker, steps in zip(trackers, scenes, strict=True):
                numbers.append([tracker.update(frame) for frame in steps])
            return sum(map(len, scenes)), time.perf_counter() - start

        return Prepared(step, lambda: _quality(scenes, numbers))

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """IDF1 (mean of the scenes) and identity switches."""
        return {name: dict(answer) for name, answer in answers.items()}


def _quality(
    scenes: Sequence[list[Step]], numbers: Sequence[list[NDArray[np.int64]]]
) -> dict[str, float]:
    found = [
        accuracy([step.truth for step in steps], own)
        for steps, own in zip(scenes, numbers, strict=True)
    ]
    faces = sum(f["faces"] for f in found)
    return {
        "idf1": round(float(np.mean([f["idf1"] for f in found])), 4),
        "switches_per_1000_faces": round(1000 * sum(f["switches"] for f in found) / faces, 2),
    }


def accuracy(truth: list[NDArray[np.int64]], given: list[NDArray[np.int64]]) -> dict[str, float]:
    """IDF1 (Ristani et al., 2016) and identity switches over the frames of one scene."""
    true, mine = np.concatenate(truth), np.concatenate(given)
    people, numbers = np.unique(true[true >= 0]), np.unique(mine[mine >= 0])
    both = np.zeros((len(people), len(numbers)))
    real = (true >= 0) & (mine >= 0)
    np.add.at(both, (np.searchsorted(people, true[real]), np.searchsorted(numbers, mine[real])), 1)
    rows, columns = linear_sum_assignment(both, maximize=True)
    agreed = both[rows, columns].sum()
    last: dict[int, int] = {}
    switches = 0
    for person, number in zip(true[real], mine[real], strict=True):
        switches += last.get(int(person), int(number)) != int(number)
        last[int(person)] = int(number)
    return {
        "idf1": float(2 * agreed / ((true >= 0).sum() + (mine >= 0).sum())),
        "switches": float(switches),
        "faces": float((true >= 0).sum()),
    }


def walks(rng: np.random.Generator, people: int, frames: int) -> NDArray[np.float64]:
    """frames×people×3: centre and side of each face; NaN while outside the picture."""
    side = rng.uniform(40, 120, people)
    lane = rng.uniform(0.25, 0.75, people) * HEIGHT
    place = np.stack([rng.uniform(0, WIDTH, people), lane], axis=1)
    speed = rng.choice([-1, 1], people) * rng.uniform(0.5, 5.0, people) * side
    phase, grow = rng.uniform(0, 6.28, people), rng.normal(0, 0.05, people)
    path = np.full((frames, people, 3), np.nan)
    target, now = speed.copy(), speed.copy()
    for frame in range(frames):
        turn = rng.random(people) < 0.15 / FPS  # one in seven seconds: turns round
        halt = rng.random(people) < 0.15 / FPS
        go = rng.random(people) < 0.5 / FPS
        target = np.where(turn, -target, np.where(halt, target * 0.02, target))
        target = np.where(go & (np.abs(target) < 0.3 * side), speed, target)
        now += (target - now) * 0.25
        place[:, 0] += now / FPS
        bob = 0.12 * side * np.sin(2 * np.pi * 1.8 * frame / FPS + phase)
        scale = side * np.exp(grow * frame / FPS * np.sin(phase))
        # A person who leaves on one side comes back there.
        back = (place[:, 0] < -200) | (place[:, 0] > WIDTH + 200)
        target = np.where(back, -np.sign(place[:, 0]) * np.abs(target), target)
        now = np.where(back, target, now)
        inside = (place[:, 0] > 0) & (place[:, 0] < WIDTH)
        path[frame, inside, 0] = place[inside, 0]
        path[frame, inside, 1] = place[inside, 1] + bob[inside]
        path[frame, inside, 2] = scale[inside]
    return path


def scene(seed: int, people: int, *, every: int, seconds: float = 20.0) -> list[Step]:
    """The detections of every ``every``-th frame."""
    rng = np.random.default_rng(seed)
    path = walks(rng, people, round(seconds * FPS))
    # A person who was away longer than ABSENCE is a new sighting, hence a new identity.
    identity = np.arange(people)
    fresh, last = itertools.count(people), np.full(people, -1e9)
    steps = []
    for frame in range(0, len(path), every):
        boxes: list[tuple[float, float, float]] = []
        truth: list[int] = []
        order = np.argsort(-np.nan_to_num(path[frame, :, 2]))  # the nearest first
        for person in order:
            x, y, side = path[frame, person]
            if not np.isfinite(x):
                continue
            pts = frame / FPS
            hidden = any(abs(x - b[0]) < 0.6 * b[2] and abs(y - b[1]) < 0.6 * b[2] for b in boxes)
            if hidden or rng.random() < 0.08:
                continue
            if pts - last[person] > ABSENCE and last[person] > -1e8:
                identity[person] = next(fresh)
            last[person] = pts
            boxes.append((x, y, side))
            truth.append(identity[person])
        steps.append(_detected(rng, frame / FPS, boxes, truth))
    return steps


def _detected(rng: np.random.Generator, pts: float, faces: Sequence[Any], truth: list[int]) -> Step:
    found = np.array(faces, np.float64).reshape(-1, 3)
    owner = list(truth)
    if rng.random() < 0.05:
        wrong = [rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(40, 120)]
        found, owner = np.concatenate([found, [wrong]]), [*owner, -1]
    side = found[:, 2:]
    centre = found[:, :2] + rng.normal(0, 0.04, (len(found), 2)) * side
    size = side * np.array([0.8, 1.0]) * np.exp(rng.normal(0, 0.05, (len(found), 2)))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    shuffled = rng.permutation(len(boxes))
    scores = rng.uniform(0.8, 1.0, len(boxes))
    return Step(
        pts,
        boxes[shuffled].astype(np.float32),
        scores.astype(np.float32),
        np.array(owner, np.int64)[shuffled],
    )


def faces_in_rows(faces: int) -> list[Step]:
    """Faces side by side that tremble and drift, all found in every frame."""
    rng = np.random.default_rng(7)
    place = np.stack([np.arange(faces) % 5 * 240 + 100, np.arange(faces) // 5 * 170 + 80], axis=1)
    steps = []
    for frame in range(120):
        centre = place + rng.normal(0, 2, place.shape) + [frame * 0.5, 0]
        boxes = np.concatenate([centre - 40, centre + 40], axis=1).astype(np.float32)
        steps.append(Step(frame / FPS, boxes, np.ones(faces, np.float32), np.arange(faces)))
    return steps


class Ours:
    """facestream's own."""

    def __init__(self, every: int) -> None:
        self._tracker = SourceTracker(min_iou=0.3, absence_seconds=ABSENCE)

    def update(self, step: Step) -> NDArray[np.int64]:
        self._tracker.expire(step.pts)
        found = self._tracker.associate(step.boxes, at=step.pts)
        return np.array([f.number for f in found], np.int64)


class Norfair:
    """norfair 2.3 with its optimised Kalman filter."""

    def __init__(self, every: int, *, distance: str) -> None:
        norfair = import_module("norfair")
        self._norfair = norfair
        self._rows = distance != "iou"
        metric: Any = _sides_apart if self._rows else "iou"
        self._tracker = norfair.Tracker(
            metric,
            distance_threshold=1.2 if self._rows else 0.8,
            initialization_delay=0,
            hit_counter_max=max(2, round(ABSENCE * FPS / every)),
        )
        self._every = every

    def update(self, step: Step) -> NDArray[np.int64]:
        boxes = step.boxes.astype(np.float64).reshape(-1, 2, 2)
        faces = [self._norfair.Detection(box) for box in boxes]
        found = np.full(len(faces), -1, np.int64)
        rows = {id(face): row for row, face in enumerate(faces)}
        for item in self._tracker.update(faces):
            row = rows.get(id(item.last_detection))
            if row is not None and item.id is not None:
                found[row] = item.id
        return found


def _sides_apart(detection: Any, tracked: Any) -> float:
    """Distance of the corners in units of the side."""
    side = np.abs(tracked.estimate[1] - tracked.estimate[0]).mean()
    return float(np.linalg.norm(detection.points - tracked.estimate, axis=1).mean() / side)


class Roboflow:
    """SORT, ByteTrack and their like of Roboflow's trackers."""

    def __init__(self, every: int, *, kind: str, iou: str | None = None) -> None:
        trackers = import_module("trackers")
        measures = import_module("trackers.utils.iou")
        self._supervision = import_module("supervision")
        more: dict[str, Any] = {} if iou is None else {"iou": getattr(measures, iou)()}
        if iou == "GIoU":
            more["minimum_iou_threshold"] = 0.3  # of 0..1, one half where boxes only touch
        self._tracker = getattr(trackers, kind)(
            lost_track_buffer=round(30 * ABSENCE),
            frame_rate=FPS / every,
            minimum_consecutive_frames=1,
            **more,
        )

    def update(self, step: Step) -> NDArray[np.int64]:
        if not len(step.boxes):
            self._tracker.update(self._supervision.Detections.empty(), timestamp=step.pts)
            return np.zeros(0, np.int64)
        found = self._tracker.update(
            self._supervision.Detections(
                xyxy=step.boxes, confidence=step.scores, data={"row": np.arange(len(step.boxes))}
            ),
            timestamp=step.pts,
        )
        numbers = np.full(len(step.boxes), -1, np.int64)
        if len(found):
            numbers[found.data["row"]] = found.tracker_id
        return numbers


MAKERS: dict[str, Callable[[int], Tracker]] = {
    "facestream": Ours,
    "norfair, IoU": partial(Norfair, distance="iou"),
    "norfair, distance": partial(Norfair, distance="sides"),
    "trackers SORT": partial(Roboflow, kind="SORTTracker"),
    "trackers SORT, GIoU": partial(Roboflow, kind="SORTTracker", iou="GIoU"),
    "trackers ByteTrack": partial(Roboflow, kind="ByteTrackTracker"),
    "trackers OC-SORT": partial(Roboflow, kind="OCSORTTracker"),
    "trackers C-BIoU": partial(Roboflow, kind="CBIoUTracker"),
}

SUITE = TrackSuite()
