"""Pictures of sightings: JPEG files by day in the folder ``media`` beside the database.

In an encrypted database the files are sealed, and their names end with the number of the data key:
``….jpg.k2``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
from facestream.engines.files import erase
from facestream.engines.files import make_folder as make_private_folder
from facestream.engines.private_files import private
from sqlalchemy import Connection

from ..core.filenames import part_of
from ..core.types import Image
from ..storage.vault import Vault
from .records import MediaKind

FOLDER = "media"
QUALITY = 92
_KEY = re.compile(r"\.k(\d+)$")


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
        vault: of the database.
    """

    def __init__(self, path: Path, vault: Vault) -> None:
        self.path = path
        self._made: Path | None = None  # the last folder
        self._vault = vault

    def write(self, uid: str, kind: MediaKind, image: Image, at: datetime) -> StoredPicture:
        """Write a picture, H×W×3 BGR uint8, of the sighting ``uid`` that began at this time.

        Raises:
            OSError: it cannot be written.
        """
        coded, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not coded:
            raise OSError(0, f"a picture of shape {image.shape} cannot be encoded")
        return self.store(f"{at:%Y/%m/%d}/{uid}-{kind}.jpg", uid, kind, encoded.tobytes())

    def store(self, path: str, uid: str, kind: MediaKind, jpeg: bytes) -> StoredPicture:
        """Write a picture that is encoded, in the form that is stored now.

        Args:
            path: relative to the folder, as if it were not sealed.

        Raises:
            OSError: it cannot be written.
        """
        relative = self.renamed(path)
        data = self._vault.seal(jpeg, *_place(uid, kind))
        place = self.path / relative
        if place.parent != self._made or not place.parent.is_dir():
            make_private_folder(place.parent)
            self._made = place.parent
        part = part_of(place)
        try:
            with open(part, "wb", opener=private) as file:
                file.write(data)
            part.replace(place)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return StoredPicture(kind, relative, hashlib.sha256(data).hexdigest(), len(data))

    def read(self, connection: Connection, path: str, uid: str, kind: MediaKind) -> bytes:
        """The JPEG of a picture.

        Raises:
            OSError: the file cannot be read.
            GalleryError: it was changed, or the key is missing.
        """
        data = (self.path / path).read_bytes()
        return self._vault.open(connection, data, *_place(uid, kind))

    def brought_up_to_date(
        self, connection: Connection, one: StoredPicture, uid: str
    ) -> StoredPicture:
        """A picture that this process wrote before it knew of a change of keys, written anew.

        Raises:
            OSError: it cannot be read or written.
        """
        data = (self.path / one.path).read_bytes()
        if key_number(one.path) is not None:
            data = self._vault.open(connection, data, *_place(uid, one.kind))
        stored = self.store(one.path, uid, one.kind, data)
        self.erase(one.path)
        return stored

    def up_to_date(self, path: str) -> bool:
        """Whether a file is in the form that is stored now."""
        return key_number(path) == self._vault.active

    @property
    def active(self) -> int | None:
        """Number of the data key that seals new pictures; None: they are plain."""
        return self._vault.active

    def renamed(self, path: str) -> str:
        """The path that a picture has in the form that is stored now."""
        active = self._vault.active
        return plain_path(path) + ("" if active is None else f".k{active}")

    def files(self) -> Iterator[Path]:
        """All files, also unfinished ones."""
        if self.path.is_dir():
            yield from (one for one in sorted(self.path.rglob("*")) if one.is_file())

    def erase(self, path: str) -> bool:
        """Overwrite and delete a picture; False where it is gone already.

        Raises:
            OSError: it cannot be erased.
        """
        try:
            erase(self.path / path)
        except FileNotFoundError:
            return False
        for folder in (self.path / path).parents:
            if folder == self.path or not folder.is_relative_to(self.path):
                break
            try:
                folder.rmdir()
            except OSError:  # others are in it
                break
        return True


def plain_path(path: str) -> str:
    """The path of a picture without the number of a key."""
    return _KEY.sub("", path)


def key_number(path: str) -> int | None:
    """By which data key a picture is sealed; None: it is a JPEG file."""
    found = _KEY.search(path)
    return None if found is None else int(found[1])


def _place(uid: str, kind: MediaKind) -> tuple[object, ...]:
    return ("media", uid, kind)
