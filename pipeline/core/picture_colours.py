"""Colours of pictures: any mode and profile of Pillow as 8-bit sRGB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageCms

from .picture_limits import ICC_BYTES

ROWS: Final = 64
"""Rows that are converted at a time where the values in between are large."""

_EIGHT_BITS: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "LAB"})


def eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """A decoded picture in one of the modes L, LA, RGB, RGBA, CMYK and LAB."""
    if picture.mode in _EIGHT_BITS:
        return _as_inked(picture) if picture.mode == "CMYK" else picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return Pillow.fromarray(_grey_levels(picture))
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def reduced(picture: Pillow.Image, scale: int) -> Pillow.Image:
    """A picture of ``eight_bits`` at 1/2, 1/4 or 1/8; of transparent ones Pillow makes copies."""
    width, height = picture.size
    small = Pillow.new(picture.mode, (-(-width // scale), -(-height // scale)))
    for start in range(0, height, ROWS):
        strip = picture.crop((0, start, width, min(start + ROWS, height)))
        small.paste(strip.reduce(scale), (0, start // scale))
    small.info, small.format = picture.info, picture.format
    return small


def colour_profile(picture: Pillow.Image) -> bytes | None:
    """The ICC profile; None where there is none, or one that is too large to be of a camera."""
    profile: bytes | None = picture.info.get("icc_profile")
    return profile if profile and len(profile) <= ICC_BYTES else None


def to_srgb(picture: Pillow.Image, profile: bytes | None) -> Pillow.Image:
    """A picture of ``eight_bits`` as L, LA, RGB or RGBA in the colours of sRGB.

    Args:
        picture: is not changed.
        profile: its ICC profile. One that is damaged or of other channels is ignored.
    """
    wanted = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        if picture.mode == "LAB":
            lab = ImageCms.createProfile("LAB")
            return _converted(picture, ImageCms.ImageCmsProfile(lab), wanted)
        if profile and picture.mode in ("RGB", "RGBA", "CMYK"):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in (source.profile.profile_description or ""):
                return _converted(picture, source, wanted)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    if picture.mode in ("RGB", "RGBA", "L"):
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _converted(
    picture: Pillow.Image, source: ImageCms.ImageCmsProfile, wanted: str
) -> Pillow.Image:
    srgb = ImageCms.createProfile("sRGB")
    done = ImageCms.profileToProfile(picture, source, srgb, outputMode=wanted)
    return picture if done is None else done


def _as_inked(picture: Pillow.Image) -> Pillow.Image:
    """CMYK of which 255 is full ink.

    Adobe's JPEGs are inverted and have Adobe's marker. Pillow inverts all JPEGs, also those of
    other programs, which have no marker and are not inverted.
    """
    if getattr(picture, "format", None) not in ("JPEG", "MPO") or "adobe" in picture.info:
        return picture
    return picture.point(lambda value: 255 - value)


def _grey_levels(picture: Pillow.Image) -> NDArray[np.uint8]:
    """Grey of 16 or 32 bits; convert("RGB") would clip it at 255 instead of scaling it."""
    levels = np.empty((picture.height, picture.width), np.uint8)
    highest = 0.0
    for _, values in _strips(picture):
        if not np.isfinite(values).all():
            raise ValueError("it has values that are not numbers")
        highest = max(highest, values.max(initial=0))
    # 16-bit files come as "I" or "I;16". Values of 0..1 or 0..255 are taken as such.
    factor = 1.0
    if picture.mode == "F" and highest <= 1:
        factor = 255
    elif highest > 65535:
        factor = 255 / highest
    elif highest > 255 or picture.mode.startswith("I;16"):
        factor = 1 / 256
    for start, values in _strips(picture):
        levels[start : start + ROWS] = (values * factor).clip(0, 255)
    return levels


def _strips(picture: Pillow.Image) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Some rows after the other: 64 bits of the whole would take 20 bytes a pixel."""
    for start in range(0, picture.height, ROWS):
        box = (0, start, picture.width, min(start + ROWS, picture.height))
        yield start, np.asarray(picture.crop(box)).astype(np.float64)
