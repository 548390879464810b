"""Aligned faces as PNG: how they are kept in galleries and exports, and what is read back."""

from __future__ import annotations

import struct
from typing import Any

import cv2
from sqlalchemy.orm import Session

from ..core.errors import ImageError
from ..core.images import decode_image
from ..core.types import Image
from ..storage.vault import vault_of

SIDE = 112
# An incompressible face has 38 KB; metadata may come with it.
MOST_BYTES = 2**20

_START = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", SIDE, SIDE)


def encode_crop(crop: Image) -> bytes:
    """PNG: without loss, so that embedding it again gives the embedding of the photo."""
    done, data = cv2.imencode(".png", crop)
    if not done:
        raise ValueError(f"a crop of shape {crop.shape} cannot be stored as PNG")
    return bytes(data)


def decode_crop(content: bytes, *, name: str) -> Image:
    """The aligned face of a PNG, 112×112×3 BGR uint8; its size is known before it is decoded.

    Raises ImageError if it is not a PNG of this size, damaged, or marked as synthetic.
    """
    if not content.startswith(_START) or len(content) > MOST_BYTES:
        raise ImageError(f"{name} is not a PNG of {SIDE}×{SIDE} pixels")
    return decode_image(content, name=name)


def place_of_crop(sha256: str) -> tuple[object, ...]:
    """What the crop of a photo is sealed with: the photo's checksum, known before it has an id."""
    return ("photos", sha256, "crop")


def opened_crop(session: Session, row: Any) -> bytes:
    """The PNG of a row with ``crop`` and ``sha256``.

    Raises GalleryCorrupt if it is sealed and was changed.
    """
    vault = vault_of(session)
    return vault.open(session.connection(), row.crop, *place_of_crop(row.sha256))
