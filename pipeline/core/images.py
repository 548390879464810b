"""Pictures from files and arrays, whatever their kind, as BGR uint8."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from .errors import ImageError
from .synthetic import marked_as
from .types import Image

# fmt: off
# Names of files that are taken for pictures where a folder or zip is searched; Pillow and OpenCV
# read all of them.
PICTURE_SUFFIXES: Final = frozenset(
    {
        ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png",
        ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    }
)
# fmt: on
# What Pillow's readers are known to raise on damaged files, beside ImageError's own causes.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_TOO_LARGE = (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning, MemoryError)


def read_image(path: Path | str) -> Image:
    """Read a picture file upright, as H×W×3 BGR uint8.

    Grey and palette pictures become colour, transparency lies on white, 16-bit values lose
    their lower half, and a camera's EXIF rotation is applied. The first picture of an
    animation is taken.

    Raises:
        ImageError: the file is missing, empty, not a picture, damaged, too large, or marked as
            synthetic.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path} is a folder, not a picture")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"no picture at {path}") from None
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
    return decode_image(content, name=str(path))


def decode_image(content: bytes, *, name: str = "the picture") -> Image:
    """Decode the bytes of a picture file; see ``read_image``.

    Args:
        content: PNG, JPEG, WebP, TIFF, BMP, GIF and what else Pillow reads.
        name: what to call it in an error.

    Raises:
        ImageError: not a picture, damaged, larger than Pillow's limit (179 megapixels), or marked
            as made by a network (``synthetic``): such a face is no evidence of who somebody is.
    """
    if not content:
        raise ImageError(f"{name} is empty (0 bytes)")
    try:
        with Pillow.open(io.BytesIO(content)) as picture:
            _refuse_synthetic(content, picture, name)
            return _to_bgr(picture)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a picture that can be read") from None
    except _TOO_LARGE as error:
        raise ImageError(f"{name} is too large to decode: {error}") from error
    except _DAMAGE as error:
        raise ImageError(f"{name} is damaged: {error}") from error


def _refuse_synthetic(content: bytes, picture: Pillow.Image, name: str) -> None:
    # Metadata that is compressed in the file is readable only in Pillow's ``info``.
    texts = [value for value in picture.info.values() if isinstance(value, str | bytes)]
    fields = (text.encode() if isinstance(text, str) else text for text in texts)
    source = marked_as(content) or next(filter(None, map(marked_as, fields)), None)
    if source is not None:
        raise ImageError(
            f"{name} is marked as synthetic ({source}): it is never enrolled or matched; "
            "give the original photo",
            reason="synthetic",
        )


def to_bgr(array: NDArray[Any]) -> Image:
    """A picture array as H×W×3 BGR uint8.

    Args:
        array: H×W grey, H×W×1 grey, H×W×3 BGR or H×W×4 BGRA (laid on white); uint8, uint16
            (of which the upper half counts) or bool. BGR uint8 is returned as it is.

    Raises:
        ImageError: another shape or dtype, or no pixels.
    """
    array = np.asarray(array)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        shape = "×".join(map(str, array.shape)) or "a single value"
        raise ImageError(f"a picture must be H×W, H×W×1, H×W×3 or H×W×4, not {shape}")
    if array.dtype == np.uint16:
        array = array >> 8
    elif array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"a picture must be uint8, uint16 or bool, not {array.dtype}; "
            "scale it to 0..255 and convert it"
        )
    array = array.astype(np.uint8, copy=False)
    if channels == 3:
        return array
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    alpha = array[:, :, 3:].astype(np.uint16)
    mixed = array[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _to_bgr(picture: Pillow.Image) -> Image:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return to_bgr(_grey_levels(picture))
    if picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"))
        return to_bgr(rgba[:, :, [2, 1, 0, 3]])
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])


def _grey_levels(picture: Pillow.Image) -> NDArray[np.uint8]:
    """Grey of 16 or 32 bits; convert("RGB") would clip it at 255 instead of scaling it."""
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not numbers")
    highest = values.max(initial=0)
    # 16-bit files come as "I" or "I;16". Values of 0..1 or 0..255 are taken as such.
    if picture.mode == "F" and highest <= 1:
        values = values * 255
    elif highest > 65535:
        values = values * (255 / highest)
    elif highest > 255 or picture.mode.startswith("I;16"):
        values = values / 256
    return values.clip(0, 255).astype(np.uint8)
