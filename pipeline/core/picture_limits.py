"""How large picture files may be; checked before anything of them is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import ImageError

EXIF_BYTES: Final = 1 << 20
ICC_BYTES: Final = 4 << 20
"""More of EXIF or of a colour profile is ignored; in a JPEG it is refused."""

# Only JPEG can be decoded at a fraction of its size. The shares of the others follow from the
# memory that a pixel takes while it is decoded: 6 bytes for PNG, 20 for WebP and JPEG 2000.
_SHARES: Final = {"JPEG": 1, "HEIF": 4, "AVIF": 4, "JXL": 4, "WEBP": 8, "JPEG2000": 8}
_SHARE_OF_OTHERS: Final = 3
_SHOWN: Final = {"JXL": "JPEG XL", "JPEG2000": "JPEG 2000", "HEIF": "HEIC"}


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """The largest pictures that are read: both bound the memory of a picture, to about 1 GB.

    Attributes:
        size: bytes of a file.
        pixels: of a JPEG. HEIC, AVIF and JPEG XL are read up to a quarter of it, WebP and
            JPEG 2000 to an eighth, all others to a third.
    """

    size: int = 256 * 10**6
    pixels: int = 500 * 10**6

    def pixels_of(self, kind: str) -> int:
        """Most pixels of a kind of picture, see ``picture_kind``."""
        return self.pixels // _SHARES.get(kind, _SHARE_OF_OTHERS)

    def check_pixels(self, name: str, kind: str, width: int, height: int) -> None:
        """Raises ImageError for a picture with too many pixels."""
        limit = self.pixels_of(kind)
        if width * height <= limit:
            return
        shown = _SHOWN.get(kind, kind)
        jpeg = "" if kind == "JPEG" else f" or save it as JPEG (up to {_mega(self.pixels)})"
        raise ImageError(
            f"{name} is too large: {width}×{height} are {_mega(width * height)} megapixels, and "
            f"{shown} files are read up to {_mega(limit)}; reduce it{jpeg}"
        )

    def check_size(self, name: str, size: int) -> None:
        """Raises ImageError for a file with too many bytes."""
        if size > self.size:
            raise ImageError(
                f"{name} is too large: {_mega(size)} MB, and photos are read up to "
                f"{_mega(self.size)} MB; reduce it or raise photos.max_megabytes"
            )


_limits = PictureLimits()


def picture_limits() -> PictureLimits:
    """The limits of this process."""
    return _limits


def set_picture_limits(limits: PictureLimits) -> None:
    """Set the limits of this process, as the settings ``photos`` do for a command."""
    global _limits
    _limits = limits


def _mega(number: int) -> int:
    return number // 10**6
