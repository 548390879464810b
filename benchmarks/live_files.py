"""Scenes as files: facestream, and YuNet + SFace, each named face against the truth."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.pipeline import Pipeline, Settings
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Floats, FrameResult, Image
from facestream.pipeline.sinks.base import Sink
from facestream.training.evaluation.mot import Named, Reported, Score, score, total

from .live_scenes import Scene, SceneSet
from .peers import YunetSface, corners
from .suites.e2e import Videos

# All N searched share these frames: accuracy is compared on the same ones.
SCORED_EVERY = 8
# OpenCV's own threshold for the cosine of SFace, and others around it.
SFACE_COSINE = 0.363
SFACE_SWEEP = (0.30, 0.363, 0.40, 0.45, 0.50, 0.55)


def cpu_seconds() -> float:
    """CPU time of this process so far, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass(slots=True)
class SceneReport:
    """What a system reported of one scene, and when each track first had each name."""

    reported: list[Reported] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    _named: set[tuple[int, str]] = field(default_factory=set)

    def add(self, face: Reported, *, seconds: float) -> None:
        """One face of one frame; ``seconds`` since the start of the scene."""
        self.reported.append(face)
        if face.name is not None and (face.track, face.name) not in self._named:
            self._named.add((face.track, face.name))
            self.named.append(Named(face.frame, face.box, face.name, seconds))

    def score(self, scene: Scene, *, frames: Sequence[int] | None = None) -> Score:
        """Against the truth."""
        truth = scene.truth
        chosen = range(0, truth.frames, SCORED_EVERY) if frames is None else frames
        return score(truth, self.reported, self.named, frames=chosen)


def reported_of(result: FrameResult, frame: int) -> Iterator[Reported]:
    """The tracks of a searched frame."""
    if not result.detected:
        return
    for track in result.tracks:
        left, top, right, bottom = (float(v) for v in track.box)
        yield Reported(frame, (left, top, right, bottom), track.track_id, track.identity.name)


class ReportSink(Sink):
    """Fills a report from the results of a file."""

    def __init__(self, fps: float) -> None:
        self.report = SceneReport()
        self._fps = fps

    def write(self, result: FrameResult) -> None:
        for face in reported_of(result, result.frame.index):
            self.report.add(face, seconds=face.frame / self._fps)


def facestream_files(scene_set: SceneSet, every: int, threads: int) -> dict[str, Any]:
    """facestream over all scenes, searching every N-th frame."""
    scores: list[Score] = []
    embedded, cpu, seconds, video = 0, 0.0, 0.0, 0.0
    settings = Settings().with_values({"tracking.detect_every": every, "runtime.threads": threads})
    for scene in scene_set.scenes:
        truth = scene.truth
        sink = ReportSink(truth.fps)
        with Pipeline(
            [scene.clip],
            gallery=scene_set.gallery,
            settings=settings,
            sinks=[sink],
            frames="searched",
        ) as pipeline:
            pipeline.warm_up(next(Videos((scene.clip,)).images()))
            start, used = time.perf_counter(), cpu_seconds()
            report = pipeline.run()
            seconds += time.perf_counter() - start
            cpu += cpu_seconds() - used
        embedded += report.embedded
        video += truth.frames / truth.fps
        scores.append(sink.report.score(scene))
    return {
        "contender": "facestream",
        "detect_every": every,
        **total(scores),
        "faces_embedded_per_second": embedded / video,
        "cpu_per_video_second": cpu / video,
        "times_real_time": video / seconds,
        "video_seconds": video,
    }


@dataclass(slots=True)
class _Track:
    """A track of the peer: its last box and frame, and the sum of its unit features."""

    box: Floats
    frame: int
    total: Floats


@dataclass(frozen=True, slots=True)
class _Face:
    """A face the peer found, with the best person by this frame alone and by its track."""

    frame: int
    box: tuple[float, float, float, float]
    track: int
    alone: tuple[float, str]
    fused: tuple[float, str]


class YunetSfaceTracks:
    """OpenCV Zoo's detector and recogniser, as its own demo uses them, with the same gallery.

    A face is the enrolled person whose picture has the highest cosine, if that reaches the
    threshold. The zoo has no tracker: here tracks are joined by overlap (0.3, one second), and a
    face is named by itself in each frame, or by the mean of its track's features so far.
    """

    def __init__(self, scene_set: SceneSet, zoo: Path) -> None:
        self._peer = YunetSface(zoo)
        self._names: list[str] = []
        features: list[Floats] = []
        for name, pictures in scene_set.enrolled():
            for picture in pictures:
                found = self._peer.detect(picture)
                if len(found):
                    self._names.append(name)
                    features.append(self._peer.embed(picture, found[_central(found, picture)]))
        self._gallery = np.stack(features)

    def _best(self, feature: Floats) -> tuple[float, str]:
        cosines = self._gallery @ (feature / np.linalg.norm(feature))
        best = int(np.argmax(cosines))
        return float(cosines[best]), self._names[best]

    def faces(self, scene: Scene, every: int) -> list[_Face]:
        """Every face found in every N-th frame; all frames are decoded."""
        fps = scene.truth.fps
        tracks: dict[int, _Track] = {}
        seen: list[_Face] = []
        for number, image in enumerate(Videos((scene.clip,), detect_every=every).frames()):
            if image is None:
                continue
            found = self._peer.detect(image)
            boxes, features = corners(found), [self._peer.embed(image, face) for face in found]
            ids = _associate(tracks, boxes, features, number, patience=fps)
            for track, box, feature in zip(ids, boxes, features, strict=True):
                left, top, right, bottom = (float(v) for v in box)
                seen.append(
                    _Face(
                        number,
                        (left, top, right, bottom),
                        track,
                        self._best(feature),
                        self._best(tracks[track].total),
                    )
                )
        return seen


def _central(found: Floats, image: Image) -> int:
    """The face a portrait is about: large and near the middle."""
    centre = found[:, :2] + found[:, 2:4] / 2 - np.array(image.shape[1::-1]) / 2
    return int(np.argmax(found[:, 2] * found[:, 3] - 2 * (centre**2).sum(axis=1)))


def _associate(
    tracks: dict[int, _Track],
    boxes: Floats,
    features: Sequence[Floats],
    frame: int,
    *,
    patience: float,
) -> list[int]:
    """Join boxes to tracks, the largest overlap first; returns the track of each box."""
    alive = [t for t, track in tracks.items() if frame - track.frame <= patience]
    ids = [-1] * len(boxes)
    if alive and len(boxes):
        overlap = iou_matrix(boxes, np.stack([tracks[t].box for t in alive]))
        while overlap.max() >= 0.3:
            best, column = divmod(int(np.argmax(overlap)), overlap.shape[1])
            ids[best] = alive[column]
            overlap[best], overlap[:, column] = -1, -1
    for row, (box, feature) in enumerate(zip(boxes, features, strict=True)):
        if ids[row] < 0:
            ids[row] = len(tracks)
            tracks[ids[row]] = _Track(box, frame, np.zeros_like(feature))
        track = tracks[ids[row]]
        track.box, track.frame, track.total = box, frame, track.total + feature
    return ids


def peer_files(scene_set: SceneSet, every: int, threads: int, zoo: Path) -> list[dict[str, Any]]:
    """YuNet + SFace over all scenes: a row for each way of naming and threshold."""
    cv2.setNumThreads(threads)
    peer = YunetSfaceTracks(scene_set, zoo)
    start, used = time.perf_counter(), cpu_seconds()
    found = [(scene, peer.faces(scene, every)) for scene in scene_set.scenes]
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - used
    video = sum(scene.truth.frames / scene.truth.fps for scene in scene_set.scenes)
    ways: dict[str, Callable[[_Face], tuple[float, str]]] = {
        "frame": lambda face: face.alone,
        "track": lambda face: face.fused,
    }
    rows = []
    for way, best in ways.items():
        for threshold in SFACE_SWEEP:
            scores = [_peer_score(scene, seen, best, threshold) for scene, seen in found]
            rows.append(
                {
                    "contender": "yunet+sface",
                    "naming": way,
                    "threshold": threshold,
                    "detect_every": every,
                    **total(scores),
                    "cpu_per_video_second": cpu / video,
                    "times_real_time": video / seconds,
                }
            )
    return rows


def _peer_score(
    scene: Scene,
    seen: Sequence[_Face],
    best: Callable[[_Face], tuple[float, str]],
    threshold: float,
) -> Score:
    report = SceneReport()
    for face in seen:
        cosine, name = best(face)
        face_report = Reported(
            face.frame, face.box, face.track, name if cosine >= threshold else None
        )
        report.add(face_report, seconds=face.frame / scene.truth.fps)
    return report.score(scene)
