"""Kinds of picture files: their names, their first bytes, and what opens them.

The content decides what a file is, its name only whether a folder's file is looked at. HEIF needs
pillow-heif, whose wheel brings a GPL encoder of 23 MB, and JPEG XL needs pylibjxl; both are in the
extra ``photos``.
"""

from __future__ import annotations

import importlib
import io
import re
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from .errors import ImageError
from .picture_headers import check_header
from .picture_limits import EXIF_BYTES, PictureLimits

# fmt: off
PICTURE_SUFFIXES: Final = frozenset(
    {
        ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs",
        ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jxl", ".mpo", ".pbm",
        ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    }
)
"""Names under which folders are searched for pictures, by every command."""
# fmt: on

# fmt: off
FORMATS: Final = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP",
)
# fmt: on
"""Pillow's readers that may run, beside HEIF and JPEG XL of the extra. Others are not kept up for
hostile files, or start programs: PostScript starts Ghostscript."""

# fmt: off
DAMAGE: Final = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    ArithmeticError, RuntimeError, struct.error, zlib.error,
)
"""Raised by the readers on damaged files."""
# fmt: on

HEAD_BYTES: Final = 64
"""Enough of a file to know its kind."""

_STARTS: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
)
_VIDEO_STARTS: Final = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"0&\xb2u\x8ef\xcf\x11")
_RAW_STREAMS: Final = frozenset({".mjpeg", ".mjpg"})  # begin like a JPEG


def picture_kind(head: bytes) -> str | None:
    """Pillow's name of the format that starts with these bytes, ``JXL`` or ``HEIF``; else None."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(head[3], len(head)), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if head[8:12] in _HEIF_BRANDS else None
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "BMP"
    return "PPM" if re.match(rb"P[1-6]\s", head) else None


def content_kind(path: Path) -> Literal["picture", "video"] | None:
    """What a file is by its content; None where that is not known or it cannot be read."""
    if path.suffix.lower() in _RAW_STREAMS or not path.is_file():  # a pipe is not read twice
        return None
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if picture_kind(head):
        return "picture"
    known = head.startswith(_VIDEO_STARTS) or head[4:8] == b"ftyp"
    return "video" if known or (head[:4], head[8:12]) == (b"RIFF", b"AVI ") else None


def open_picture(content: bytes, name: str, limits: PictureLimits) -> Pillow.Image:
    """The picture in a file's content; except for JPEG XL its pixels are not decoded yet.

    Raises:
        ImageError: it needs a package that is not installed, or is larger than the limits.
        Exception: Pillow's own errors, where it is damaged or of no kind in ``FORMATS``.
    """
    limits.check_size(name, len(content))
    kind = picture_kind(content[:HEAD_BYTES])
    if kind == "JXL":
        return _open_jxl(content, name, limits)
    if kind == "HEIF":
        _extra(name, "pillow_heif", "HEIC").register_heif_opener()
    Pillow.preinit()
    if kind not in Pillow.OPEN:
        Pillow.init()
    kind = kind or _kind_to_pillow(content[:16])
    check_header(content, kind, name, limits)
    # `Pillow.open` would warn or refuse by a limit of its own, whatever is then decoded.
    picture = Pillow.OPEN[kind][0](io.BytesIO(content), "")
    limits.check_pixels(name, kind, *picture.size)
    return picture


def _kind_to_pillow(head: bytes) -> str:
    """What Pillow takes for one of ``FORMATS``, by fewer first bytes than ``picture_kind``."""
    for kind in FORMATS:
        accept = Pillow.OPEN[kind][1]
        if accept is not None and accept(head) is True:
            return kind
    raise UnidentifiedImageError


def _open_jxl(content: bytes, name: str, limits: PictureLimits) -> Pillow.Image:
    library = _extra(name, "pylibjxl", "JPEG XL")
    found: dict[str, Any] = library.probe(content)
    limits.check_pixels(name, "JXL", found["width"], found["height"])
    pixels, metadata = library.decode(content, metadata=True)
    picture = Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)
    if "icc" in metadata:
        picture.info["icc_profile"] = metadata["icc"]
    if "exif" in metadata and len(metadata["exif"]) <= EXIF_BYTES:
        # The box starts with an offset. The library turns the pixels: the tag is done with.
        exif = Pillow.Exif()
        exif.load(b"Exif\0\0" + metadata["exif"].removeprefix(b"\0\0\0\0"))
        exif.pop(0x0112, None)
        picture.info["exif"] = exif.tobytes()
    return picture


def _extra(name: str, module: str, kind: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImageError(
            f"{name} is a {kind} file, which needs {module.replace('_', '-')}: "
            "pip install 'facestream[photos]'"
        ) from error
