"""What EXIF says of a photo: which way is up, and when it was taken."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Final

from PIL import ExifTags
from PIL import Image as Pillow

from .picture_kinds import DAMAGE
from .picture_limits import EXIF_BYTES

_HOLDERS: Final = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")

_TURNS: Final = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_TAGS: Final = ExifTags.Base
# Date, offset from UTC, fraction of the second. Not ``DateTime``, the last change of the file.
_TIMES: Final = (
    (_TAGS.DateTimeOriginal, _TAGS.OffsetTimeOriginal, _TAGS.SubsecTimeOriginal),
    (_TAGS.DateTimeDigitized, _TAGS.OffsetTimeDigitized, _TAGS.SubsecTimeDigitized),
)


def upright(picture: Pillow.Image, original: Pillow.Image) -> Pillow.Image:
    """A picture turned as the EXIF of the original says from which it was made.

    The original must be loaded: Pillow turns TIFF while loading.
    """
    try:
        turn = _TURNS.get(_exif(original).get(_TAGS.Orientation, 1))
    except DAMAGE:  # damaged EXIF is no reason to refuse the photo
        turn = None
    return picture if turn is None else picture.transpose(turn)


def taken_at(picture: Pillow.Image) -> float | None:
    """When the photo was taken, in seconds since the epoch; None where that is not said.

    Where EXIF has no offset from UTC, the time is taken for that of this computer's zone. A time
    in the future, of a clock that was not set, is none.
    """
    with suppress(*DAMAGE):
        tags = _exif(picture).get_ifd(ExifTags.IFD.Exif)
        for date, offset, fraction in _TIMES:
            numbers = [int(text) for text in re.findall(r"\d+", str(tags.get(date, "")))]
            if len(numbers) < 6:
                continue
            year, month, day, hour, minute, second = numbers[:6]
            zone = _zone(str(tags.get(offset, "")))
            moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
            digits = re.match(r"\d+", str(tags.get(fraction, "")))
            seconds = moment.timestamp() + (float(f"0.{digits[0]}") if digits else 0.0)
            return seconds if seconds < time.time() + 86400 else None
    return None


def _exif(picture: Pillow.Image) -> Pillow.Exif:
    """Its tags; none where EXIF is larger than cameras write: it takes 50 times the memory."""
    large = any(len(picture.info.get(key, "")) > EXIF_BYTES for key in _HOLDERS)
    return Pillow.Exif() if large else picture.getexif()


def _zone(offset: str) -> tzinfo | None:
    with suppress(ValueError):
        return datetime.strptime(offset.strip("\0 "), "%z").tzinfo
    return None
