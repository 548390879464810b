"""The detector as a stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ..types import Faces, FrameResult, Image
from .view import Region, View


class Detector(Protocol):
    """Finds faces in pictures of one size or several."""

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
        self._searched: dict[str, int] = {}  # the turn of the last searched frame, by source

    def __call__(self, batch: list[FrameResult]) -> list[FrameResult]:
        """The same frames, in the same order, with ``faces`` and ``detected`` filled in."""
        regions = [self._region(result) for result in batch]
        due = [
            (region, region.cut(result.frame.image))
            for result, region in zip(batch, regions, strict=True)
            if region is not None
        ]
        found = iter(self._search(due))
        return [
            r if region is None else replace(r, faces=region.restore(next(found)), detected=True)
            for r, region in zip(batch, regions, strict=True)
        ]

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

    def _search(self, due: Sequence[tuple[Region, Image]]) -> list[Faces]:
        if not due:
            return []
        images = [image for _, image in due]
        least = [region.min_face for region, _ in due]
        if all(size is None for size in least):
            return self._detector.detect_batch(images)
        return self._detector.detect_batch(images, min_face=least)
