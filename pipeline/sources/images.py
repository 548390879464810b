"""Pictures as a source: each frame is a photo on its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

from facestream.engines.closing import Closing

from ..core.errors import ImageError, SourceError
from ..core.images import read_image
from ..core.types import Frame
from .base import (
    DEFAULTS,
    SourceInfo,
    SourceOptions,
    SourceSpec,
)
from .decode import Picture

# Of a folder with thousands of unreadable files the first few say enough.
_LISTED = 20


class ImagesSource(Closing):
    """One picture, or a folder's in order.

    ``Frame.index`` is the number of the picture in ``files``, unreadable ones included, and
    ``pts`` is the index in seconds. Pictures that cannot be read are counted in ``corrupt``,
    listed in ``problems`` with the reason, and skipped.

    Raises:
        SourceError: there are no pictures; while iterating: not one could be read.
    """

    live = False
    skipped = 0  # photos are looked at one by one
    whole = False
    bursts = False

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        if not spec.files:
            raise SourceError(f"{spec.name} holds no pictures")
        self.name = spec.name
        self.files = spec.files
        self.decoded = 0
        self.corrupt = 0
        self.info = SourceInfo(
            width=None,
            height=None,
            fps=None,
            frames=len(spec.files),
            duration=None,
            clock="opened",
        )
        self._options = options
        self._opened_at = time.time()
        self._listed: list[str] = []
        self._stopped = False
        self._started = False

    @property
    def problems(self) -> list[str]:
        """The pictures that could not be read, with the reason; the first few in full."""
        more = self.corrupt - len(self._listed)
        return [*self._listed, *([f"{more} more pictures cannot be read"] if more else [])]

    def __iter__(self) -> Iterator[Frame]:
        """See ``Source``."""
        if self._started:
            raise RuntimeError(f"source {self.name} was iterated already; open it again")
        self._started = True
        return self._frames()

    def pictures(self) -> Iterator[Picture]:
        """Photos are not decoded as a stream."""
        raise TypeError(f"{self.name} holds photos; iterate it")

    def stop(self) -> None:
        """End the iteration after the picture that is being read."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held open between pictures."""
        self._stopped = True

    def _frames(self) -> Iterator[Frame]:
        last: ImageError | None = None
        for index, path in enumerate(self.files):
            if self._stopped or self.decoded == self._options.max_frames:
                return
            try:
                image = read_image(path)
            except ImageError as error:
                last = error
                self._note(str(error))
                continue
            self.decoded += 1
            yield Frame(
                source=self.name,
                index=index,
                pts=float(index),
                utc=self._opened_at + index,
                captured_at=time.monotonic(),
                image=image,
                still=True,
            )
        if last is not None and not self.decoded:
            if len(self.files) == 1:
                raise SourceError(str(last)) from last
            raise SourceError(f"{self.name}: none of its {len(self.files)} pictures can be read")

    def _note(self, problem: str) -> None:
        self.corrupt += 1
        if len(self._listed) < _LISTED:
            self._listed.append(problem)
