"""Which face of a photo is enrolled, or why none is.

The rule: detections the detector is at least 90 % sure of count. The largest is the main face.
Another one makes the photo ``several_faces`` unless its area is less than a ninth of the main
face's (a third of its width): people in the background do not spoil a portrait. Less sure
detections are mostly patterns, and count only when they are larger than the main face.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from ..core.errors import ImageError
from ..core.folders import PassedOver
from ..core.images import DecodedPhoto, decode_photo, no_file, read_bytes, to_bgr
from ..core.picture_kinds import PICTURE_SUFFIXES
from ..core.types import Faces, Image
from ..detection.photos import CERTAIN, search_again
from ..detection.turned import describe_turn
from ..storage.names import printable
from .records import Face, FaceReader, PhotoNotes

# Pixels. Smaller than what is accepted, so that ``too_small`` differs from ``no_face``.
MIN_FACE = 20
BACKGROUND_RATIO = 9.0
# Shorter side of the box, in pixels: the crop is enlarged at most about three times.
MIN_SIDE = 40
# Larger photos are searched in a smaller copy: the main face is still found, much sooner.
SEARCHED_SIDE = 1280
_UNSET = {(1970, 1, 1), (1980, 1, 1), (1904, 1, 1)}


@dataclass(frozen=True, slots=True, eq=False)
class PhotoContent:
    """A photo's content before it is decoded.

    Attributes:
        path: of the file (absolute), or the name of an array.
        sha256: of the file, or of the pixels for an array.
        content: the file's bytes, or the array.
    """

    path: Path
    sha256: str
    content: bytes | Image

    @classmethod
    def of_bytes(cls, content: bytes, *, name: str) -> PhotoContent:
        """The content of a picture file that somebody sent, called ``name``."""
        return cls(Path(name), hashlib.sha256(content).hexdigest(), content)

    @classmethod
    def load(cls, photo: Path | str | Image, *, name: Path) -> PhotoContent:
        """Read a file, or take an array that ``to_bgr`` accepts and call it ``name``.

        Raises ImageError if the file is missing or cannot be read.
        """
        if isinstance(photo, np.ndarray):
            image = np.ascontiguousarray(to_bgr(photo))
            digest = hashlib.sha256(repr(image.shape).encode())
            digest.update(image.tobytes())
            return cls(name, digest.hexdigest(), image)
        path = Path(photo)
        if (why := no_file(path)) is not None:
            raise ImageError(f"it {why}")
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            raise ImageError("there is no such file") from None
        except IsADirectoryError:
            raise ImageError("it is a folder, not a picture") from None
        except (OSError, ValueError) as error:
            raise ImageError(f"it cannot be read: {error}") from error
        return cls(path.absolute(), hashlib.sha256(content).hexdigest(), content)


def main_face(picture: PhotoContent, reader: FaceReader) -> Face:
    """The face of a photo that is enrolled.

    Raises ImageError if there is none; ``reason`` says why.
    """
    content = picture.content
    if isinstance(content, bytes):
        photo = decode_photo(content, name="the file")
    else:
        photo = DecodedPhoto(content)

    def find(image: Image, *, min_face: int | None = None) -> Faces:
        if min_face is None:
            return _found(image, reader)
        return reader.detect(image, min_face=min_face)

    faces, turned = search_again(photo.image, _found(photo.image, reader), find)
    best = choose(faces)
    crop = reader.align(photo.image, faces.landmarks[best][None])[0]
    height, width = photo.image.shape[:2]
    full = faces.scaled(photo.scale, photo.scale)
    return Face(
        path=str(picture.path),
        sha256=picture.sha256,
        width=width * photo.scale,
        height=height * photo.scale,
        box=full.boxes[best],
        landmarks=full.landmarks[best],
        score=float(faces.scores[best]),
        crop=crop,
        warnings=(*filter(None, [photo.damage]), *([describe_turn(turned)] if turned else [])),
        notes=PhotoNotes(taken_at=_taken(photo)),
    )


def _taken(photo: DecodedPhoto) -> datetime | None:
    """When it was taken, by its EXIF; None where that is the first day of a clock never set."""
    if photo.taken is None:
        return None
    at = datetime.fromtimestamp(photo.taken, UTC)
    return None if (at.year, at.month, at.day) in _UNSET else at


def choose(faces: Faces) -> int:
    """The row of the main face; the module's docstring has the rule.

    Raises ImageError: ``no_face``, ``several_faces`` or ``too_small``.
    """
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    areas = sides.prod(axis=1)
    certain = faces.scores >= CERTAIN
    if not certain.any():
        detail = "no face was found"
        if len(faces):
            detail = f"no face is certain enough (the best has a score of {faces.scores.max():.2f})"
        raise ImageError(detail, reason="no_face")
    best = int(np.argmax(np.where(certain, areas, -1.0)))
    rivals = (certain & (areas * BACKGROUND_RATIO >= areas[best])) | (areas > areas[best])
    rivals[best] = False
    if rivals.any():
        raise ImageError(
            f"{int(rivals.sum()) + 1} faces were found; crop the photo to one person",
            reason="several_faces",
        )
    side = float(sides[best].min())
    if side < MIN_SIDE:
        raise ImageError(
            f"the face is {side:.0f} pixels wide; at least {MIN_SIDE} are needed",
            reason="too_small",
        )
    return best


def expand_photos(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Folders replaced by their pictures: the photos, and a note for each folder without any."""
    photos: list[Path] = []
    notes = []
    for path in paths:
        passed = PassedOver()
        inside = [path]
        if path.is_dir():
            inside = [entry for entry in entries(path, passed) if is_picture(entry)]
        photos += inside
        shown = printable(str(path))
        if not inside:
            notes.append(f"the folder '{shown}' has no pictures")
        if (line := passed.summary(shown)) is not None:
            notes.append(line)
    return photos, notes


def entries(folder: Path, passed: PassedOver) -> list[Path]:
    """Files and folders of a folder, sorted; what is hidden or of a system is counted.

    Raises OSError if it cannot be read.
    """
    return [folder / name for name in passed.keep(os.listdir(folder))]  # noqa: PTH208


def is_picture(path: Path) -> bool:
    """True for a file that is a picture by its name."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def _found(image: Image, reader: FaceReader) -> Faces:
    scale = SEARCHED_SIDE / max(image.shape[:2])
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        faces = reader.detect(np.asarray(small, np.uint8), min_face=MIN_FACE)
        # A third of the main face's width must still be found, or a rival could be missed.
        if len(faces) and (faces.boxes[:, 2] - faces.boxes[:, 0]).max() >= 3 * MIN_FACE:
            # The copy has whole pixels: its scale differs a little from ``scale``.
            height, width = small.shape[:2]
            back = image.shape[1] / width, image.shape[0] / height
            return faces.scaled(*back)
    return reader.detect(image, min_face=MIN_FACE)
