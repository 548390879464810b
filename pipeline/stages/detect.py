"""The detector as a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from ..core.types import Faces, Frame, FrameResult, Image, LazyFrame
from ..detection.base import Detector
from ..detection.motion_gate import Changes, SearchPlan
from ..detection.photos import search_again
from ..detection.region import Region, View
from ..ingest.isolation import SourceIsolation

Charge = Callable[[str, float], None]
"""Gets a source's name and the seconds that were spent on its frames."""

# A face among many costs as much time as so many pixels without one (measured on 2 cores: 1080p
# takes 0.13 s, with 100 faces 0.9 s).
_FACE_PIXELS = 120_000


@dataclass(frozen=True, slots=True)
class _Due:
    """A frame of a batch to search, and the part of it."""

    place: int
    source: str
    still: bool
    region: Region
    image: Image
    plan: SearchPlan
    changes: Changes | None

    def follows(self, source: str) -> bool:
        """Whether the next frame of this source depends on the faces found here."""
        return self.changes is not None and self.source == source

    def restore(self, faces: Sequence[Faces]) -> Faces:
        """The faces of the frame from those of its windows."""
        seen = faces[0] if self.changes is None else self.changes.found(self.plan, list(faces))
        return self.region.restore(seen)


class DetectStage:
    """Finds the faces of the frames that are due, those of all sources in one call.

    A frame with an error is left out.

    Args:
        detector: stays the caller's to close; a service searches photos with it, too.
        views: how the frames of a source are searched; called once for each source.
        isolation: keeps an error with its source; without it every error ends the run.
        charge: counts the time of each source.
    """

    name = "detect"

    def __init__(
        self,
        detector: Detector,
        *,
        views: Callable[[str], View],
        isolation: SourceIsolation | None = None,
        charge: Charge = lambda source, seconds: None,
    ) -> None:
        self._detector = detector
        self._views = views
        self._charge = charge
        self._isolation = isolation or SourceIsolation()
        self._known: dict[str, View] = {}
        self._changes: dict[str, Changes] = {}
        self._searched: dict[str, int] = {}  # the turn of the last searched frame, by source

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with ``faces`` and ``detected`` filled in."""
        results: list[FrameResult | None] = list(batch)
        due: list[_Due] = []
        for place, result in enumerate(batch):
            source = result.frame.source
            # The changes are known once the source's previous frame was searched.
            if any(other.follows(source) for other in due):
                self._fill(results, due)
                due = []
            found = self._isolation.call(source, "detect", self._due, place, result)
            if found is None:
                self._lose(results, place, source)
            else:
                due += found
        self._fill(results, due)
        return [result for result in results if result is not None]

    def close(self) -> None:
        """The detector belongs to the pipeline's caller, or to the pipeline."""

    def _lose(self, results: list[FrameResult | None], place: int, source: str) -> None:
        results[place] = None
        self._changes.pop(source, None)  # it knows nothing of this frame
        self._isolation.lost(source)

    def _region(self, result: FrameResult) -> Region | None:
        """The part of a frame to search; None when it is not due."""
        frame = result.frame
        view = self._known.get(frame.source)
        if view is None:
            view = self._known[frame.source] = self._views(frame.source)
        height, width = frame.image.shape[:2]
        turn = view.turn(frame)
        always = frame.still or view.every == 1
        if not always and turn == self._searched.get(frame.source):
            return None
        self._searched[frame.source] = turn
        return view.region(height, width)

    def _due(self, place: int, result: FrameResult) -> list[_Due]:
        region = self._region(result)
        if region is None:
            return []
        frame = result.frame
        image = region.cut(frame.image)
        whole = SearchPlan.whole(image)
        if region.view.refresh is None or frame.still:
            return [_Due(place, frame.source, frame.still, region, image, whole, None)]
        changes = self._changes.get(frame.source)
        if changes is None:
            changes = self._changes[frame.source] = Changes(
                min_face=region.min_face or self._detector.min_face, refresh=region.view.refresh
            )
        plan = changes.plan(image, frame.pts)
        return [_Due(place, frame.source, False, region, image, plan, changes)]

    def _fill(self, results: list[FrameResult | None], due: Sequence[_Due]) -> None:
        """Search the due frames in one call."""
        isolation, began = self._isolation, perf_counter()
        found = isolation.call_each("detect", self._search, due, source=lambda one: one.source)
        self._share_out(perf_counter() - began, due, found)
        for one, faces in zip(due, found, strict=True):
            seen = None
            if faces is not None:
                seen = isolation.call(one.source, "detect", one.restore, faces)
            result = results[one.place]
            if seen is None or result is None:
                self._lose(results, one.place, one.source)
            else:
                isolation.succeeded(one.source, "detect")
                results[one.place] = replace(result, faces=seen, detected=True)

    def _share_out(
        self, seconds: float, due: Sequence[_Due], found: Sequence[list[Faces] | None]
    ) -> None:
        """Charge the time of a call to its sources, by what was searched and found."""
        weights = [
            sum((right - left) * (bottom - top) for left, top, right, bottom in one.plan.windows)
            + _FACE_PIXELS * sum(map(len, faces or ()))
            + 1
            for one, faces in zip(due, found, strict=True)
        ]
        for one, weight in zip(due, weights, strict=True):
            self._charge(one.source, seconds * weight / sum(weights))

    def _search(self, due: Sequence[_Due]) -> list[list[Faces]]:
        """The faces in each window of each frame."""
        parts = [(one.region.min_face, part) for one in due for part in one.plan.cut(one.image)]
        if not parts:
            return [[] for _ in due]
        found = iter(self._detect(parts))
        windows = [[next(found) for _ in one.plan.windows] for one in due]
        return [
            [self._again(one, faces[0])] if one.still else faces
            for one, faces in zip(due, windows, strict=True)
        ]

    def _again(self, one: _Due, found: Faces) -> Faces:
        """The faces of a photo, also where it is cut to the face or lies turned."""

        def find(image: Image, *, min_face: int | None = None) -> Faces:
            return self._detect([(min_face or one.region.min_face, image)])[0]

        return search_again(one.image, found, find)[0]

    def _detect(self, parts: Sequence[tuple[int | None, Image]]) -> list[Faces]:
        """The faces in each picture, down to its size; None: the detector's own."""
        sizes = [size for size, _ in parts]
        options = {} if all(size is None for size in sizes) else {"min_face": sizes}
        return self._detector.detect_batch([image for _, image in parts], **options)


def frame_result(
    item: Frame | LazyFrame,
    isolation: SourceIsolation,
    charge: Charge = lambda source, seconds: None,
) -> FrameResult | None:
    """The frame for the stages; None, counted as lost, where its picture cannot be made."""
    if isinstance(item, Frame):
        return FrameResult(item)
    source, began = item.source, perf_counter()
    frame = isolation.call(source, "convert", item.to_frame)
    charge(source, perf_counter() - began)
    if frame is None:
        isolation.lost(source, cause="corrupt")
        return None
    isolation.succeeded(source, "convert")
    return FrameResult(frame)
