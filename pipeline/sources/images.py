"""Pictures as a source: each frame is a photo on its own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

from ..core.errors import ImageError, SourceError
from ..core.filenames import readable
from ..core.images import read_photo
from ..core.types import Frame
from .base import DEFAULTS, BaseSource, Picture, SourceInfo, SourceOptions, SourceSpec

log = logging.getLogger(__name__)

_LISTED = 20  # unreadable files that are named; the rest are only counted


class ImagesSource(BaseSource):
    """One picture, or a folder's in order.

    ``Frame.index`` is the number of the picture in ``files``, unreadable ones included, and
    ``pts`` is the index in seconds; each picture is delivered, whatever ``SourceOptions.every``.
    ``Frame.utc`` is when the photo was taken, as far as its EXIF says.
    Pictures that cannot be read are counted in ``corrupt``, listed in ``problems`` with the reason,
    and skipped; those that are cut short are listed.

    Raises:
        SourceError: there are no pictures; while iterating: not one could be read.
    """

    still = True

    def __init__(self, spec: SourceSpec, options: SourceOptions = DEFAULTS) -> None:
        if not spec.files:
            raise SourceError(f"{spec.name} holds no pictures")
        super().__init__(spec, options, SourceInfo(frames=len(spec.files)))
        self.files = spec.files

    def pictures(self) -> Iterator[Picture]:
        raise TypeError(f"{self.name} holds photos; iterate it")

    def _frames(self) -> Iterator[Frame]:
        last: ImageError | None = None
        try:
            for index, path in enumerate(self.files):
                if self.stopped or self.decoded == self.options.max_frames:
                    return
                try:
                    photo = read_photo(path)
                except ImageError as error:
                    last = error
                    self.corrupt += 1
                    if self.corrupt <= _LISTED:
                        self.problems.append(str(error))
                    continue
                self.decoded += 1
                if photo.damage:
                    self.problems.append(photo.damage)
                if photo.scale > 1:
                    log.info("%s is read at 1/%d of its size", path, photo.scale)
                yield Frame(
                    source=self.name,
                    index=index,
                    pts=float(index),
                    utc=math.nan if photo.taken is None else photo.taken,
                    captured_at=time.monotonic(),
                    image=photo.image,
                    still=True,
                    file=readable(str(path)),
                )
        finally:
            if self.corrupt > _LISTED:
                self.problems.append(f"{self.corrupt - _LISTED} more pictures cannot be read")
        if last is not None and not self.decoded:
            if len(self.files) == 1:
                raise SourceError(str(last)) from last
            raise SourceError(f"{self.name}: none of its {len(self.files)} pictures can be read")
