"""What headers of pictures declare, read before a library allocates memory or works for it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from .errors import ImageError
from .picture_limits import EXIF_BYTES, ICC_BYTES, PictureLimits

# Samples whose coefficients a progressive decoder keeps, 2 bytes each: 200 megapixels of RGB.
_COEFFICIENTS: Final = 600_000_000
_SCANS: Final = 100  # a progressive JPEG has about 10, and each costs a pass over the picture
_SEGMENTS: Final = 4096
_TAG_VALUES: Final = 300_000  # of a TIFF: numbers, which are objects once they are read

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE: Final = frozenset({0xC0, 0xC1, 0xC9})
_SCAN: Final = 0xDA
_END: Final = 0xD9
_ALONE: Final = frozenset({0, 1, 0xC8, *range(0xD0, 0xD9), *range(0xF0, 0xFE)})  # no length
# In coded data 0xFF is followed by 0 or is a restart, which ends nothing.
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_FILL: Final = re.compile(rb"[^\xff]*\xff+")
_NESTED: Final = (0x8769, 0x8825, 0xA005)  # tags of directories: EXIF, GPS, interoperability
_NUMBERS: Final = frozenset({3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16, 17, 18})
_TILE: Final = (322, 323)


class JpegSegment(NamedTuple):
    """A segment of a JPEG's header: its marker, and where its content lies."""

    marker: int
    start: int
    end: int


def check_header(content: bytes, kind: str, name: str, limits: PictureLimits) -> None:
    """Refuse what a reader of this kind would allocate or work for before its size is known.

    Raises:
        ImageError: it declares more than the limits.
        struct.error, IndexError: it is cut short.
    """
    if kind == "JPEG":
        _check_jpeg(content, name, limits)
    elif kind == "TIFF":
        _check_tiff(content, name, limits)
    elif kind == "WEBP" and (size := _webp_size(content)) is not None:
        limits.check_pixels(name, kind, *size)


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG as its header says; None where it does not."""
    for marker, start, end in _segments(content):
        if marker in _FRAMES and min(end, len(content)) - start >= 6:
            height, width = struct.unpack_from(">HH", content, start + 1)
            return width, height
    return None


def _segments(content: bytes, at: int = 2) -> Iterator[JpegSegment]:
    """The segments of a JPEG up to its first scan, that included."""
    for _ in range(_SEGMENTS):
        found = _FILL.match(content, at)
        if found is None or found.end() + 3 > len(content):
            return
        marker = content[found.end()]
        at = found.end() + 1
        if marker in _ALONE:
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        yield JpegSegment(marker, at + 2, at + max(length, 2))
        if marker in (_SCAN, _END):
            return
        at += max(length, 2)


def _check_jpeg(content: bytes, name: str, limits: PictureLimits) -> None:
    held: dict[bytes, int] = {b"Exif": 0, b"ICC_": 0}
    count = samples = components = 0
    whole = False
    for marker, start, end in _segments(content):
        count += 1
        if marker in (0xE1, 0xE2) and (mark := content[start : start + 4]) in held:
            held[mark] += end - start
        elif marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", content, start + 1)
            limits.check_pixels(name, "JPEG", width, height)
            whole = marker not in _BASELINE
            factors = content[start + 7 : start + 6 + 3 * components : 3]
            areas = [(factor >> 4) * (factor & 15) for factor in factors] or [1]
            samples = width * height * sum(areas) // max(*areas, 1)
        elif marker == _SCAN:
            # Components in scans of their own are kept like those of a progressive picture.
            if (whole or content[start] < components) and samples > _COEFFICIENTS:
                raise ImageError(
                    f"{name} is too large: progressive JPEG files are read up to "
                    f"{_COEFFICIENTS // 3 // 10**6} megapixels; reduce it or save it as baseline"
                )
            _check_scans(content, end, name)
    if count == _SEGMENTS or held[b"Exif"] > EXIF_BYTES or held[b"ICC_"] > 2 * ICC_BYTES:
        raise ImageError(f"{name} has too much metadata before the picture; save it without")


def _check_scans(content: bytes, at: int, name: str) -> None:
    scans = 1
    while (found := _MARKER.search(content, at)) is not None:
        marker, at = content[found.start() + 1], found.end()
        if marker == _END:
            return
        scans += marker == _SCAN
        if scans > _SCANS:
            raise ImageError(f"{name} has more than {_SCANS} scans; save it as baseline JPEG")
        length = int.from_bytes(content[at : at + 2], "big")
        at += max(length, 2)


def _check_tiff(content: bytes, name: str, limits: PictureLimits) -> None:
    order = "<" if content[:2] == b"II" else ">"
    big = content[2:4] in (b"+\0", b"\0+")
    head, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHL4s", "L")
    size = struct.calcsize("<" + entry)
    (first,) = struct.unpack_from(order + offset, content, 8 if big else 4)
    tile: dict[int, int] = {}
    values, ahead, seen = 0, [first], set[int]()
    while ahead and values <= _TAG_VALUES:
        at = ahead.pop()
        if at in seen or at + 8 > len(content):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(order + head, content, at)
        at += struct.calcsize("<" + head)
        fitting = min(count, (len(content) - at) // size)
        values += fitting
        for number in range(min(fitting, _TAG_VALUES)):
            tag, type_, count, held = struct.unpack_from(order + entry, content, at + number * size)
            values += count if type_ in _NUMBERS else 0
            value = struct.unpack_from(order + ("H" if type_ == 3 else offset), held)[0]
            if tag in _NESTED and len(seen) < 8:
                ahead.append(value)
            elif tag in _TILE:
                tile[tag] = max(value, tile.get(tag, 0))
    if values > _TAG_VALUES:
        raise ImageError(f"{name} has too many values in its tags; save it as PNG or JPEG")
    limits.check_pixels(name, "TIFF", *(tile.get(tag, 0) for tag in _TILE))


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Of the canvas, which the reader allocates when it opens the file."""
    kind = content[12:16]
    if kind == b"VP8X" and len(content) >= 30:
        width, height = content[24:27], content[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(content) >= 30:
        across, down = struct.unpack_from("<HH", content, 26)
        return across & 0x3FFF, down & 0x3FFF
    return None
