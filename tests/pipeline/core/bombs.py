"""Small files that take much: headers of huge pictures, nested sizes, endless programs.

Run as a program it reads the files that are named, and prints for each what became of it and the
most memory so far, in MB above that at the start.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='50000' height='50000'/>"


def encoded(kind: str, side: int = 64, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (side, side), (90, 120, 140)).save(buffer, kind, **options)
    return buffer.getvalue()


def png(side: int, *, bits: int = 8, colour: int = 2, extra: bytes = b"", rows: int = 0) -> bytes:
    """A square PNG of zeros; ``colour`` 0 is grey, 2 RGB, 6 RGBA."""
    packer, row = zlib.compressobj(1), bytes({0: 1, 2: 3, 6: 4}[colour] * bits // 8 * side + 1)
    data = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    parts = (png_chunk(b"IHDR", header), extra, png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    """Entries are tag, type, count and value; the tail begins 14 + 12 bytes an entry."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + bytes(4) + tail


def exif_of_numbers(count: int) -> bytes:
    """A date that is ``count`` fractions: each becomes an object."""
    head = b"MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    inside = struct.pack(">HHHII", 1, 0x9003, 5, count, 44) + bytes(4)
    return head + inside + b"\0\0\0\1" * (2 * count)


def resized_jpeg(side: int) -> bytes:
    """A small JPEG whose header says that it is a square of that side."""
    content = encoded("JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", side, side) + content[at + 4 :]


def many_scans() -> bytes:
    content = encoded("JPEG", 1000, progressive=True)
    scan, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    return content[:end] + content[scan:end] * 3000 + content[end:]


def many_segments(start: bytes, count: int) -> bytes:
    content = encoded("JPEG")
    segment = b"\xff\xe1" + (60_002).to_bytes(2, "big") + start.ljust(60_000, b"\0")
    return content[:2] + segment * count + content[2:]


def webp(side: int) -> bytes:
    """Lossless, with a size that its data do not fill: the canvas is made before they are read."""
    content = bytearray(encoded("WEBP", lossless=True))
    content[21:25] = (side - 1 | side - 1 << 14).to_bytes(4, "little")
    return bytes(content)


def heic(side: int) -> bytes:
    content, size = encoded("HEIF"), b"ispe\0\0\0\0"
    return content.replace(size + struct.pack(">II", 64, 64), size + struct.pack(">II", side, side))


def refused() -> dict[str, bytes]:
    """Name to content of files that are refused, or read without what is too large in them."""
    nested = [(256, 3, 1, 40), (257, 3, 1, 40), (34665, 4, 1, 50)]
    fraction = struct.pack("<HHHII", 1, 37500, 5, 2_000_000, 70) + bytes(6)
    tiles = [(256, 3, 1, 40), (257, 3, 1, 40), (322, 4, 1, 40_000), (323, 4, 1, 40_000)]
    bmp = struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, 40_000, 40_000, 1, 24)
    zeros = zlib.compress(bytes(100_000_000))
    text = png_chunk(b"zTXt", b"Comment\0\0" + zeros)
    texts = b"".join(
        png_chunk(b"zTXt", b"C%d\0\0" % n + zlib.compress(bytes(1_000_000))) for n in range(99)
    )
    return {
        "wide.png": png(24_000, bits=16, colour=0),
        "wide.jpg": resized_jpeg(65_500),
        "wide.gif": b"GIF89a" + struct.pack("<HH", 65_500, 65_500) + bytes(30),
        "wide.bmp": b"BM" + bmp + bytes(24),
        "wide.pgm": b"P5 40000 40000 255\n",
        "wide.webp": webp(16_383),
        "wide.tif": tiff([(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8)]),
        "text.png": png(40, rows=40, extra=text),
        "texts.png": png(40, rows=40, extra=texts),
        "profile.png": png(40, rows=40, extra=png_chunk(b"iCCP", b"x\0\0" + zeros)),
        "exif.png": png(40, rows=40, extra=png_chunk(b"eXIf", exif_of_numbers(1_000_000))),
        "tags.tif": tiff([(1000 + n, 7, 4_000_000, 8) for n in range(5000)], bytes(4_000_000)),
        "values.tif": tiff(nested, fraction + b"\1\0\0\0" * 4_000_000),
        "tile.tif": tiff(tiles),
        "scans.jpg": many_scans(),
        "exif.jpg": many_segments(b"Exif\0\0", 300),
        "postscript.jpg": POSTSCRIPT,
        "drawing.png": SVG,
    }  # fmt: skip


def main() -> None:
    """Read the files of the arguments."""
    from facestream.pipeline.core.errors import ImageError
    from facestream.pipeline.core.images import decode_photo, read_photo

    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF"):  # loads the libraries
        decode_photo(encoded(kind))
    start = _peak()
    for path in map(Path, sys.argv[1:]):
        try:
            result = "×".join(map(str, read_photo(path).image.shape))
        except ImageError as error:
            result = str(error)
        sys.stdout.write(json.dumps([path.name, result, _peak() - start]) + "\n")


def _peak() -> int:
    """Most memory so far, in MB; not ``getrusage``, which begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1000


def arrays(path: Path) -> None:
    """An npz of 0.1 MB with 80 MB of zeros."""
    np.savez_compressed(path, mu=np.zeros((100, 100_000)))


if __name__ == "__main__":
    main()
