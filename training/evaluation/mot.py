"""Tracking and naming of the people of a scene: IDF1, names right and wrong, switches.

IDF1 (Ristani et al., 2016) weighs identities rather than boxes: each true path through the picture
is assigned to one track at the most, so that most frames agree, and IDF1 is twice the frames that
agree over all true and all reported ones. Names need no such assignment: a name is right or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Floats
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .scene_truth import Truth

# A reported box is a face's when they overlap by this much, as is usual for IDF1.
MIN_IOU: Final = 0.5
# A face of which less is visible need not be found, and is no mistake when it is.
MIN_VISIBLE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Reported:
    """A face as a system reported it in one frame.

    Attributes:
        frame: number of the frame.
        box: x1, y1, x2, y2.
        track: the system's number of the track.
        name: of the person, None for unknown.
    """

    frame: int
    box: tuple[float, float, float, float]
    track: int
    name: str | None


@dataclass(frozen=True, slots=True)
class Named:
    """The moment at which a track was given a name: ``seconds`` since the scene's start."""

    frame: int
    box: tuple[float, float, float, float]
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class IdCounts:
    """Frames whose identity agrees, is reported wrongly, or is missed."""

    right: int
    false: int
    missed: int

    @property
    def idf1(self) -> float:
        """2·right / (2·right + false + missed); NaN where there is nothing."""
        total = 2 * self.right + self.false + self.missed
        return 2 * self.right / total if total else float("nan")


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one scene; add them up with ``total``.

    Attributes:
        tracks: identities by the number of the track, everybody counted.
        names: identities by name, the enrolled counted.
        enrolled_frames: faces of enrolled people.
        named_right, named_wrong: of those, with the right and with another name.
        stranger_frames: faces of strangers. named_strangers: of those, with a name.
        passages: of enrolled people who came into full view. passages_named: of those, with the
            right name more often than any other.
        stranger_passages: of strangers. stranger_passages_named: with a name at any time.
        switches: changes of a passage's track from one scored frame to the next.
        times: seconds from full view to the right name, for each passage that got it.
    """

    tracks: IdCounts
    names: IdCounts
    enrolled_frames: int
    named_right: int
    named_wrong: int
    stranger_frames: int
    named_strangers: int
    passages: int
    passages_named: int
    stranger_passages: int
    stranger_passages_named: int
    switches: int
    times: tuple[float, ...]


def score(
    truth: Truth,
    reported: Iterable[Reported],
    named: Iterable[Named] = (),
    *,
    frames: Iterable[int] | None = None,
) -> Score:
    """Compare a scene with what was reported of it.

    Args:
        truth: of the scene.
        reported: faces, frame by frame in any order.
        named: when tracks got their names; a passage counts from its first right one.
        frames: only these are scored, those that were searched for instance; None scores all.
    """
    by_frame: dict[int, list[Reported]] = {}
    for face in reported:
        by_frame.setdefault(face.frame, []).append(face)
    pairs: list[tuple[int, Reported]] = []  # passage, what was reported of it
    stray: list[Reported] = []
    shown: Counter[int] = Counter()
    for frame in range(truth.frames) if frames is None else sorted(set(frames)):
        places, faces = truth.rows(frame), by_frame.get(frame, [])
        passages, visible = truth.passage[places], truth.visible[places] >= MIN_VISIBLE
        shown.update(passages[visible].tolist())
        matched = match_boxes(truth.boxes[places], [face.box for face in faces])
        for row, column in matched:
            if visible[row]:
                pairs.append((int(passages[row]), faces[column]))
        taken = {column for _, column in matched}
        stray += [face for column, face in enumerate(faces) if column not in taken]
    times = name_times(truth, named)
    return _score(truth, pairs, stray, shown, times)


def match_boxes(truth: Floats, reported: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Rows of true (N×4) and reported boxes that are the same face: the most overlap in all, each
    at most once, none below ``MIN_IOU``."""
    if not len(truth) or not reported:
        return []
    overlap = iou_matrix(truth, np.asarray(reported, np.float32))
    overlap = np.where(overlap >= MIN_IOU, overlap, 0.0)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if overlap[r, c] > 0]


def id_counts(together: NDArray[np.int64], true: Any, reported: Any) -> IdCounts:
    """The best one-to-one assignment of true paths to tracks.

    Args:
        together: T×R, frames in which true path t and track r are the same face.
        true: T, frames of each true path.
        reported: R, frames of each track.
    """
    rows, columns = linear_sum_assignment(together, maximize=True)
    right = int(together[rows, columns].sum())
    return IdCounts(right, int(np.sum(reported)) - right, int(np.sum(true)) - right)


def name_times(truth: Truth, named: Iterable[Named]) -> dict[int, float]:
    """Seconds from a passage's first full view to its first right name, by passage; 0 where the
    name came before all of the face was in view."""
    times: dict[int, float] = {}
    for event in sorted(named, key=lambda e: e.seconds):
        places = truth.rows(event.frame)
        matched = match_boxes(truth.boxes[places], [event.box])
        for row, _ in matched:
            passage = int(truth.passage[places][row])
            first = truth.in_full_view(passage)
            if truth.names[passage] == event.name and passage not in times and first is not None:
                times[passage] = max(0.0, event.seconds - first / truth.fps)
    return times


def total(scores: Sequence[Score]) -> dict[str, Any]:
    """The figures of several scenes together, for JSON.

    Counts are added before shares are taken; the best assignment is made within each scene.
    """

    def add(name: str) -> int:
        return sum(getattr(s, name) for s in scores)

    def joined(parts: Sequence[IdCounts]) -> float:
        sums = [sum(getattr(p, name) for p in parts) for name in ("right", "false", "missed")]
        return IdCounts(*sums).idf1

    times = [t for s in scores for t in s.times]
    median, late = np.quantile(times, [0.5, 0.9]) if times else (float("nan"),) * 2
    return {
        "idf1_tracks": joined([s.tracks for s in scores]),
        "idf1_names": joined([s.names for s in scores]),
        "named_right": add("named_right") / max(1, add("enrolled_frames")),
        "named_wrong": add("named_wrong") / max(1, add("enrolled_frames")),
        "strangers_named": add("named_strangers") / max(1, add("stranger_frames")),
        "sightings": add("passages"),
        "sightings_named_right": add("passages_named") / max(1, add("passages")),
        "stranger_sightings": add("stranger_passages"),
        "stranger_sightings_named": add("stranger_passages_named")
        / max(1, add("stranger_passages")),
        "switches": add("switches"),
        "time_to_name_p50": float(median),
        "time_to_name_p90": float(late),
        "timed": len(times),
    }


def _score(
    truth: Truth,
    pairs: Sequence[tuple[int, Reported]],
    stray: Sequence[Reported],
    shown: Counter[int],
    times: dict[int, float],
) -> Score:
    enrolled = {p for p in range(len(truth.names)) if truth.enrolled[p]}
    known = [(p, face) for p, face in pairs if p in enrolled]
    others = [(p, face) for p, face in pairs if p not in enrolled]
    right = sum(face.name == truth.names[p] for p, face in known)
    wrong = sum(face.name is not None for _, face in known) - right
    false_names = sum(face.name is not None for _, face in others)
    stray_names = sum(face.name is not None for face in stray)
    known_frames = sum(shown[p] for p in enrolled)
    full = {p for p in range(len(truth.names)) if truth.in_full_view(p) is not None and shown[p]}
    return Score(
        tracks=_by_track(pairs, stray, shown),
        names=IdCounts(right, wrong + false_names + stray_names, known_frames - right),
        enrolled_frames=known_frames,
        named_right=right,
        named_wrong=wrong,
        stranger_frames=sum(shown.values()) - known_frames,
        named_strangers=false_names,
        passages=len(full & enrolled),
        passages_named=sum(_mostly(truth.names[p], p, known) for p in full & enrolled),
        stranger_passages=len(full - enrolled),
        stranger_passages_named=len({p for p, f in others if f.name is not None} & full),
        switches=_switches(pairs),
        times=tuple(times[p] for p in sorted(times)),
    )


def _by_track(
    pairs: Sequence[tuple[int, Reported]], stray: Sequence[Reported], shown: Counter[int]
) -> IdCounts:
    lengths = Counter(face.track for _, face in pairs) + Counter(face.track for face in stray)
    ways, tracks = sorted(shown), sorted(lengths)
    together = np.zeros((len(ways), len(tracks)), np.int64)
    for passage, face in pairs:
        together[ways.index(passage), tracks.index(face.track)] += 1
    return id_counts(together, [shown[w] for w in ways], [lengths[t] for t in tracks])


def _mostly(name: str, passage: int, pairs: Sequence[tuple[int, Reported]]) -> bool:
    """Whether most of a passage's names are the right one."""
    names = Counter(f.name for p, f in pairs if p == passage and f.name is not None)
    return bool(names) and names.most_common(1)[0][0] == name


def _switches(pairs: Sequence[tuple[int, Reported]]) -> int:
    last: dict[int, int] = {}
    count = 0
    for passage, face in pairs:
        count += last.get(passage, face.track) != face.track
        last[passage] = face.track
    return count
