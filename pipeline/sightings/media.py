"""Pictures of sightings: JPEG files by day in the folder ``media`` beside the database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
from facestream.engines.files import make_folder as make_private_folder
from facestream.engines.private_files import private

from ..core.filenames import part_of
from ..core.types import Image
from .records import MediaKind

FOLDER = "media"
QUALITY = 92


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture that was written.

    Attributes:
        path: relative to the media folder.
        size: in bytes.
    """

    kind: MediaKind
    path: str
    sha256: str
    size: int


class MediaFolder:
    """Writes pictures; a picture is there whole or not at all.

    Args:
        path: made at the first picture.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, uid: str, kind: MediaKind, image: Image, at: datetime) -> StoredPicture:
        """Write a picture, H×W×3 BGR uint8, of the sighting ``uid`` that began at this time.

        Raises:
            OSError: it cannot be written.
        """
        coded, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not coded:
            raise OSError(0, f"a picture of shape {image.shape} cannot be encoded")
        data = encoded.tobytes()
        relative = f"{at:%Y/%m/%d}/{uid}-{kind}.jpg"
        place = self.path / relative
        make_private_folder(place.parent)
        part = part_of(place)
        try:
            with open(part, "wb", opener=private) as file:
                file.write(data)
            part.replace(place)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return StoredPicture(kind, relative, hashlib.sha256(data).hexdigest(), len(data))
