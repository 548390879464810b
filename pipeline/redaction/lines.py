"""The way of a face through a video: where it is in each frame, and how that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..core.boxes import area, intersection_matrix
from ..core.types import Floats, Verdict
from ..tracking.parallax import Parallax

# A face that is followed no further goes on as it moved for so long, and its cover grows.
HOLD_SECONDS = 0.5
_HOLD_GROWTH = 0.02
# Of the smaller of two boxes; from there on one face may be taken for the other.
TOUCH = 0.1


class Sample(NamedTuple):
    """One picture of a face, embedded.

    Attributes:
        frame: its number.
        at: seconds.
        mu, logvar: D each.
        size: shorter side of the box, in pixels.
    """

    frame: int
    at: float
    mu: Floats
    logvar: Floats
    size: float


@dataclass(slots=True, eq=False)
class Line:
    """A face from its first frame to its last.

    Attributes:
        number: unique within a video.
        boxes: by frame, 4 each.
        found: the frames in which the detector found it; in the others it was followed.
        samples: in order.
        gap: the longest run of frames between two in which it was found.
        sampled_at: time of the last sample, in seconds.
        parallax: of its landmarks.
        coasted: by frame, where it would be had it gone on as it was found, beside where it was
            followed: what is followed may be what hides it.
    """

    number: int
    boxes: dict[int, Floats] = field(default_factory=dict)
    found: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    gap: int = 0
    sampled_at: float = -np.inf
    parallax: Parallax = field(default_factory=Parallax)
    coasted: dict[int, Floats] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """The first frame."""
        return min(self.boxes)

    @property
    def end(self) -> int:
        """The last frame."""
        return max(self.boxes)

    def add(self, frame: int, box: Floats) -> None:
        """It was found; between the last time and now it moved evenly, and as it was followed."""
        if self.found:
            last = self.found[-1]
            self.gap = max(self.gap, frame - last - 1)
            for number in range(last + 1, frame):
                share = (number - last) / (frame - last)
                even = np.asarray((1 - share) * self.boxes[last] + share * box, np.float32)
                self.boxes[number] = hull(even, self.boxes.get(number, even))
        self.found.append(frame)
        self.boxes[frame] = np.asarray(box, np.float32)

    def hold(self, *, first: int, last: int, period: float) -> None:
        """Go on at both ends as it moved, within the frames of its scene.

        Args:
            first, last: of the scene.
            period: seconds between two frames.
        """
        steps = max(1, round(HOLD_SECONDS / max(period, 1e-3)))
        places = {frame: self.boxes[frame] for frame in self.found}
        for known, extended in ((dict(self.boxes), self.boxes), (places, self.coasted)):
            for end, way in ((min(known), -1), (max(known), 1)):
                box, speed = known[end], _speed(known, end, way)
                side = float((box[2:] - box[:2]).max())
                for step in range(1, steps + 1):
                    number = end + way * step
                    if not first <= number <= last:
                        break
                    grown = side * _HOLD_GROWTH * step * np.array([-1, -1, 1, 1])
                    extended[number] = (box + speed * step + grown).astype(np.float32)

    def cover(self, frame: int) -> Floats | None:
        """The box (4) that holds the face in this frame, as it moved from the one before on."""
        box = self.boxes.get(frame)
        if box is None:
            return None
        near = [self.boxes.get(frame - 1), self.boxes.get(frame + 1)]
        for other in near:
            if other is not None:
                box = hull(box, np.asarray((box + other) / 2, np.float32))
        return box


def hull(a: Floats, b: Floats) -> Floats:
    """The smallest box (4) around two."""
    return np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])


def _speed(boxes: Mapping[int, Floats], end: int, way: int) -> Floats:
    """Pixels a frame (4) with which it goes on beyond an end; it keeps its size."""
    inner = [end - way * step for step in range(8) if end - way * step in boxes]
    middles = np.array([(boxes[n][:2] + boxes[n][2:]) / 2 for n in inner])
    if len(middles) < 2:
        return np.zeros(4, np.float32)
    # Differences of neighbours towards the end, a median against jitter.
    steps = np.abs(np.diff(inner))[:, None]
    speed = np.median((middles[:-1] - middles[1:]) / steps, axis=0)
    return np.tile(speed, 2).astype(np.float32)


def touching(lines: Sequence[Line]) -> dict[int, set[int]]:
    """By number of a line, the frames in which it touches another."""
    by_frame: dict[int, list[Line]] = {}
    for line in lines:
        for frame in line.boxes:
            by_frame.setdefault(frame, []).append(line)
    touches: dict[int, set[int]] = {line.number: set() for line in lines}
    for frame, here in by_frame.items():
        if len(here) < 2:
            continue
        boxes = np.array([line.boxes[frame] for line in here])
        sides = area(boxes)
        shared = intersection_matrix(boxes, boxes)
        np.fill_diagonal(shared, 0)
        near = shared > TOUCH * np.minimum(sides[:, None], sides[None])
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            touches[here[row].number].add(frame)
    return touches


@dataclass(slots=True, eq=False)
class LinePart:
    """A part of a line in which it is one face for certain: no touch, no longer gap.

    Attributes:
        line: whose part.
        frames: first and last.
        certain: False where it touches another face.
        samples: of the line, within.
        name: the person's; None without one.
        similarity: to that person or the most similar one.
        verdict: see `Verdict`.
        reason: why it has no name.
        disagreeing: frames (first and last each) around pictures that contradict the name.
    """

    line: Line
    frames: tuple[int, int]
    certain: bool
    samples: list[Sample]
    name: str | None = None
    similarity: float = 0.0
    verdict: Verdict = "unsure"
    reason: str | None = "pending"
    disagreeing: list[tuple[int, int]] = field(default_factory=list)

    def name_at(self, frame: int) -> str | None:
        """The name in a frame, None where a picture near it contradicts."""
        if any(first <= frame <= last for first, last in self.disagreeing):
            return None
        return self.name


def parts_of(line: Line, touches: set[int], *, longest_gap: int) -> list[LinePart]:
    """Cut a line where it touches another and where it was not found for longer."""
    frames = sorted(line.boxes)
    found = set(line.found)
    parts: list[LinePart] = []
    begin, missing = frames[0], 0
    before = frames[0] in touches
    for frame in frames[1:]:
        missing = 0 if frame in found else missing + 1
        again = frame in found and frame - 1 not in found and _gap(line, frame) > longest_gap
        now = frame in touches
        if now != before or again:
            parts.append(_part(line, begin, frame - 1, certain=not before))
            begin, before = frame, now
    parts.append(_part(line, begin, frames[-1], certain=not before))
    return parts


def _gap(line: Line, frame: int) -> int:
    """How many frames it was not found for before this one; 0 at its start."""
    earlier = [number for number in line.found if number < frame]
    return frame - earlier[-1] - 1 if earlier else 0


def _part(line: Line, first: int, last: int, *, certain: bool) -> LinePart:
    samples = [one for one in line.samples if first <= one.frame <= last]
    return LinePart(line, (first, last), certain, samples if certain else [])
