"""The first reading of a video: all faces, where they are in each frame, and pictures of each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..analysis import FaceAnalyzer
from ..core.boxes import iou_matrix
from ..core.types import Faces, Floats, Image
from ..recognition.align import align_faces
from ..tracking.tracker import SourceTracker, Tracklet
from .follow import Recent, Small, follow, small_of
from .lines import Line, Sample
from .options import RedactionOptions
from .reading import VideoReader

BATCH = 4
# A face is followed for so long before it is found and after it was.
FOLLOW_SECONDS = 1.5
SAMPLE_SECONDS = 0.12
"""Between two embedded pictures of a face."""
NAMED_SCORE = 0.7
"""What the detector is less sure of is covered, but not embedded."""
# A followed box that lies on a face that was found is that face.
_SAME = 0.5


@dataclass(slots=True, eq=False)
class VideoFaces:
    """What a video shows.

    Attributes:
        size: width and height of the pictures as they are shown.
        times: of its frames, in seconds on the container's clock.
        lines: the faces.
        scenes: the first frame of each scene.
        with_faces: frames in which the detector found a face.
    """

    size: tuple[int, int] = (0, 0)
    times: list[float] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    scenes: list[int] = field(default_factory=lambda: [0])
    with_faces: int = 0

    @property
    def period(self) -> float:
        """Seconds between two frames, usually."""
        steps = np.diff(self.times)
        return float(np.median(steps)) if len(steps) else 0.04

    def scene(self, frame: int) -> tuple[int, int]:
        """The first and the last frame of the scene of a frame."""
        place = bisect_right(self.scenes, frame)
        last = self.scenes[place] if place < len(self.scenes) else len(self.times)
        return self.scenes[place - 1], last - 1


def search_video(path: Path, analyzer: FaceAnalyzer, options: RedactionOptions) -> VideoFaces:
    """Find and follow the faces of a video.

    Args:
        path: the video.
        analyzer: its detector has the lowest scores and sizes of ``options``.

    Raises:
        SourceError: it cannot be read.
        RedactionCancelled: see `RedactionOptions`.
        EngineError: the networks cannot run here.
    """
    search = _Search(analyzer, embedding=not options.choice.everybody)
    with VideoReader(path) as reader:
        total = reader.frames_expected
        for batch in _batches(reader):
            search.add(batch)
            options.advance("search", len(search.found.times), total)
    return search.finish()


def _batches(reader: VideoReader) -> Iterator[list[tuple[float, Image | None]]]:
    batch: list[tuple[float, Image | None]] = []
    for frame in reader.frames():
        batch.append((reader.seconds(frame), reader.converter.convert(frame)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class _Search:
    """Tracks the faces of frames that arrive in order."""

    def __init__(self, analyzer: FaceAnalyzer, *, embedding: bool) -> None:
        self.found = VideoFaces()
        self._analyzer = analyzer
        self._embedding = embedding
        tracking = analyzer.settings.tracking
        self._tracker = SourceTracker(
            min_iou=tracking.iou, absence_seconds=tracking.absence_timeout
        )
        self._recent = Recent(FOLLOW_SECONDS)
        self._lines: dict[int, Line] = {}
        self._lost: dict[int, tuple[Floats, float]] = {}  # where it was last, when it was found

    def add(self, batch: Sequence[tuple[float, Image | None]]) -> None:
        """The next frames: times and pictures, None where one cannot be shown."""
        images = [image for _, image in batch if image is not None]
        faces = iter(self._analyzer.detector.detect_batch(images) if images else [])
        due: list[tuple[Line, int, float, Image, float]] = []
        for at, image in batch:
            number = len(self.found.times)
            self.found.times.append(at)
            if image is not None:
                due += self._frame(number, at, image, next(faces))
        if due:
            crops = np.concatenate([crop for *_, crop, _ in due])
            mu, logvar = self._analyzer.embed(crops)
            for row, (line, number, at, _, size) in enumerate(due):
                line.samples.append(Sample(number, at, mu[row], logvar[row], size))

    def finish(self) -> VideoFaces:
        """All faces, also a little before they were found and after."""
        found = self.found
        for line in self._lines.values():
            first, last = found.scene(line.found[0])
            line.hold(first=first, last=last, period=found.period)
        found.lines = list(self._lines.values())
        return found

    def _frame(
        self, number: int, at: float, image: Image, faces: Faces
    ) -> list[tuple[Line, int, float, Image, float]]:
        """The faces of one frame; returns the crops that are to be embedded."""
        found = self.found
        found.size = image.shape[1], image.shape[0]
        found.with_faces += bool(len(faces))
        if self._tracker.cut(image):
            found.scenes.append(number)
            self._tracker.forget_places()
            self._recent.clear()
            self._lost.clear()
        before, now = self._recent.last(), small_of(image)
        tracklets = self._tracker.associate(faces.boxes, at=at)
        self._tracker.expire(at)
        self._go_on(number, at, before, now, tracklets, faces.boxes)
        due: list[tuple[Line, int, float, Image, float]] = []
        rows = zip(tracklets, faces.boxes, faces.landmarks, faces.scores, strict=True)
        for tracklet, box, points, score in rows:
            line = self._lines.get(tracklet.number)
            begun = line is None
            if line is None:
                line = self._lines[tracklet.number] = Line(tracklet.number)
            line.add(number, box)
            line.parallax.add(points, at)
            self._lost[tracklet.number] = box, at
            if begun:
                self._trace_back(line, now, box)
            if self._embedding and score >= NAMED_SCORE and self._is_due(line, at):
                size = float((box[2:] - box[:2]).min())
                due.append((line, number, at, align_faces(image, points[None]), size))
                line.sampled_at = at
        self._recent.add(number, at, now)
        return due

    @staticmethod
    def _is_due(line: Line, at: float) -> bool:
        return at - line.sampled_at >= SAMPLE_SECONDS

    def _go_on(
        self,
        number: int,
        at: float,
        before: Small | None,
        now: Small,
        tracklets: Sequence[Tracklet],
        boxes: Floats,
    ) -> None:
        """Follow the faces that were not found in this frame."""
        here = {tracklet.number for tracklet in tracklets}
        for key, (box, seen) in list(self._lost.items()):
            if key in here:
                continue
            moved = None if before is None else follow(before, now, box)
            taken = moved is not None and len(boxes) and _on_another(moved, boxes)
            if moved is None or taken or at - seen > FOLLOW_SECONDS or self._outside(moved):
                del self._lost[key]
                continue
            self._lines[key].boxes[number] = moved
            self._lost[key] = moved, seen

    def _trace_back(self, line: Line, now: Small, box: Floats) -> None:
        """Follow a new face back to where it came from."""
        recent = self._recent.back()
        if not recent:
            return
        # Twice as far back: others are followed for as long after they were found.
        least = 2 * recent[-1][0] - recent[0][0]
        others = [o for o in self._lines.values() if o is not line and o.found[-1] >= least]
        for number, picture in recent:
            moved = follow(now, picture, box)
            if moved is None or self._outside(moved):
                return
            there = [one.boxes[number] for one in others if number in one.boxes]
            if there and _on_another(moved, np.array(there)):
                return
            line.boxes[number] = moved
            now, box = picture, moved

    def _outside(self, box: Floats) -> bool:
        """None of it is in the picture."""
        width, height = self.found.size
        return bool(box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height)


def _on_another(box: Floats, boxes: Floats) -> bool:
    return bool(iou_matrix(box[None], boxes).max() > _SAME)
