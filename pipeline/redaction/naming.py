"""Says who the faces of a video are: each part of a face's way by its own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..analysis import FaceAnalyzer
from ..core.types import Identity, Verdict
from ..identity.decision import Thresholds
from ..identity.search import MatchQuery
from ..recognition.uncertainty import sigma
from ..tracking.fusion import Template
from .lines import Line, LinePart, parts_of, touching
from .search import VideoFaces

# Less than this, and the same face goes on after it was not found.
LONGEST_GAP_SECONDS = 0.3
# A name needs so many pictures; a single one may be mistaken.
LEAST_SAMPLES = 2
LONGEST_UNSURE_SECONDS = 1.0
"""A face is shown by its name for so long without a picture that agrees."""


def name_faces(found: VideoFaces, analyzer: FaceAnalyzer) -> list[LinePart]:
    """The parts of all faces, each with its name.

    Where two faces touch, and where one was not found for long, the one may go on as the other: a
    part begins there, and has a name by its own pictures only.
    """
    touches = touching(found.lines)
    gap = max(1, round(LONGEST_GAP_SECONDS / max(found.period, 1e-3)))
    parts = [
        part
        for line in found.lines
        for part in parts_of(line, touches[line.number], longest_gap=gap)
    ]
    rules = _rules(analyzer, found.times)
    for part in parts:
        _name(part, analyzer, rules)
    mark_rivals(parts)
    return parts


class _Rules(NamedTuple):
    """What decides on names, and how much less a single picture of a named face needs."""

    thresholds: Thresholds
    held: Thresholds
    times: Sequence[float]


def _rules(analyzer: FaceAnalyzer, times: Sequence[float]) -> _Rules:
    recognition = analyzer.settings.recognition
    thresholds = analyzer.matcher.thresholds
    # A name that a track has is withdrawn by so much less only; see `RecognitionSettings`.
    held = replace(thresholds, similarity=max(-1.0, thresholds.similarity - recognition.release))
    return _Rules(thresholds, held, times)


def names_of(parts: Sequence[LinePart]) -> dict[Line, set[str]]:
    """The names that a line has in any part."""
    names: dict[Line, set[str]] = {}
    for part in parts:
        mine = names.setdefault(part.line, set())
        if part.name is not None:
            mine.add(part.name)
    return names


def _name(part: LinePart, analyzer: FaceAnalyzer, rules: _Rules) -> None:
    samples = part.samples
    if not samples:
        return
    fused = Template()
    for one in samples:
        fused.add(one.mu, one.logvar, at=one.at)
    sigmas = [float(value) for value in sigma(np.stack([one.logvar for one in samples]))]
    matcher = analyzer.matcher
    rows = matcher.search(np.stack([fused.mu, *(one.mu for one in samples)]))
    clearest, size = min(sigmas), max(one.size for one in samples)
    identity = matcher.decide([MatchQuery(rows[0], clearest, size)])[0]
    _assign(part, identity, matcher.verdict(identity, clearest))
    if identity.name is None:
        return
    if analyzer.settings.recognition.withhold_flat and part.line.parallax.flat:
        part.name, part.verdict, part.reason = None, "unsure", "flat"
        return
    agree = []
    for row, value, one in zip(rows[1:], sigmas, samples, strict=True):
        alone = matcher.decide([MatchQuery(row, value, one.size)], thresholds=rules.held)[0]
        agree.append(_agrees(alone, matcher.verdict(alone, value), identity))
    if agree.count(True) < LEAST_SAMPLES:
        part.name, part.verdict, part.reason = None, "unsure", "pending"
    else:
        part.disagreeing = _spans(part, agree, rules.times)


def _assign(part: LinePart, identity: Identity, verdict: Verdict) -> None:
    part.name, part.similarity = identity.name, identity.similarity
    part.reason = identity.reason
    part.verdict = verdict


def _agrees(one: Identity, verdict: Verdict, identity: Identity) -> bool | None:
    """Whether one picture shows the person; None where it says too little for or against."""
    if one.person_id == identity.person_id:
        return True
    if one.known or verdict == "stranger":
        return False
    return None


def _spans(
    part: LinePart, agree: Sequence[bool | None], times: Sequence[float]
) -> list[tuple[int, int]]:
    """Frames (first and last each) that lie between no two agreeing pictures.

    Around a picture that contradicts, and where none agrees for long.
    """
    looks = list(zip((one.frame for one in part.samples), agree, strict=True))
    first, last = part.frames
    sure = [frame for frame, good in looks if good]
    spans = []
    for before, after in pairwise([first - 1, *sure, last + 1]):
        begin, end = before + 1, after - 1
        contradicted = any(good is False and begin <= frame <= end for frame, good in looks)
        if begin <= end and (contradicted or times[end] - times[begin] > LONGEST_UNSURE_SECONDS):
            spans.append((begin, end))
    return spans


def mark_rivals(parts: Sequence[LinePart]) -> None:
    """Two faces of one frame are two people: the less similar one loses the name."""
    named = sorted((p for p in parts if p.name is not None), key=lambda p: -p.similarity)
    kept: list[LinePart] = []
    for part in named:
        rival = any(
            other.name == part.name
            and other.line is not part.line
            and other.frames[0] <= part.frames[1]
            and part.frames[0] <= other.frames[1]
            and _together(other, part)
            for other in kept
        )
        if rival:
            part.name, part.verdict, part.reason = None, "unsure", "taken"
        else:
            kept.append(part)


def _together(a: LinePart, b: LinePart) -> bool:
    """Both were found in a frame."""
    first, last = max(a.frames[0], b.frames[0]), min(a.frames[1], b.frames[1])
    both = set(a.line.found) & set(b.line.found)
    return any(first <= frame <= last for frame in both)
