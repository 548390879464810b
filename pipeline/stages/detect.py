"""The detector as a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..core.types import Faces, FrameResult, Image
from ..detection.motion_gate import Changes, Plan
from ..detection.region import Region, View


class Detector(Protocol):
    """Finds faces in pictures of one size or several."""

    @property
    def min_face(self) -> int:
        """Side of the smallest faces it looks for where nothing else is said, in pixels."""
        ...

    def detect_batch(
        self, images: Sequence[Image], *, min_face: Sequence[int | None] | None = None
    ) -> list[Faces]:
        """The faces of each picture.

        Args:
            images: H×W×3 BGR uint8 each.
            min_face: smallest face of each in its pixels; None: the detector's own.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Due:
    """A frame of a batch that is to be searched, and what of it."""

    place: int
    source: str
    region: Region
    image: Image
    plan: Plan
    changes: Changes | None

    def follows(self, source: str) -> bool:
        """Whether the next frame of this source must wait for what is found here."""
        return self.changes is not None and self.source == source


class DetectStage:
    """Finds the faces of the frames that are due, those of all sources in one call.

    Args:
        detector: belongs to the stage, which closes it.
        views: how the frames of a source are searched; asked once for each source.
    """

    name = "detect"

    def __init__(self, detector: Detector, *, views: Callable[[str], View]) -> None:
        self._detector = detector
        self._views = views
        self._known: dict[str, View] = {}
        self._changes: dict[str, Changes] = {}
        self._searched: dict[str, int] = {}  # the turn of the last searched frame, by source

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with ``faces`` and ``detected`` filled in."""
        results = list(batch)
        due: list[_Due] = []
        for place, result in enumerate(batch):
            region = self._region(result)
            if region is not None:
                # What changed is known when the source's frame before was searched.
                if any(other.follows(result.frame.source) for other in due):
                    self._fill(results, due)
                    due = []
                due.append(self._due(place, result, region))
        self._fill(results, due)
        return results

    def close(self) -> None:
        """Free the networks."""
        self._detector.close()

    def _region(self, result: FrameResult) -> Region | None:
        """What is searched of a frame; None when it is not due."""
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

    def _due(self, place: int, result: FrameResult, region: Region) -> _Due:
        frame = result.frame
        image = region.cut(frame.image)
        whole = Plan.whole(image)
        if region.view.refresh is None or frame.still:
            return _Due(place, frame.source, region, image, whole, None)
        changes = self._changes.get(frame.source)
        if changes is None:
            changes = self._changes[frame.source] = Changes(
                min_face=region.min_face or self._detector.min_face, refresh=region.view.refresh
            )
        return _Due(place, frame.source, region, image, changes.plan(image, frame.pts), changes)

    def _fill(self, results: list[FrameResult], due: Sequence[_Due]) -> None:
        """Search what is due, all of it in one call."""
        parts = [(one.region.min_face, part) for one in due for part in one.plan.cut(one.image)]
        found = iter(self._search(parts))
        for one in due:
            faces = [next(found) for _ in one.plan.windows]
            seen = faces[0] if one.changes is None else one.changes.found(one.plan, faces)
            results[one.place] = replace(
                results[one.place], faces=one.region.restore(seen), detected=True
            )

    def _search(self, parts: Sequence[tuple[int | None, Image]]) -> list[Faces]:
        if not parts:
            return []
        images = [image for _, image in parts]
        least = [size for size, _ in parts]
        if all(size is None for size in least):
            return self._detector.detect_batch(images)
        return self._detector.detect_batch(images, min_face=least)
