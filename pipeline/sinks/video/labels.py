"""Name plates: text on a coloured plate, in any script that the available fonts have."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from ...core.types import Image

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

INK: Colour = (20, 20, 20)
"""Text on a plate: dark, because both plate colours are bright."""


@dataclass(frozen=True, slots=True)
class Label:
    """The text of a plate.

    Attributes:
        name: in bold.
        detail: after it, in normal weight; may be empty.
        colour: of the plate.
    """

    name: str
    detail: str
    colour: Colour


@lru_cache(maxsize=512)
def plate(label: Label, size: int, widest: int) -> Image:
    """The picture of a plate.

    Args:
        size: height of the text in pixels.
        widest: the plate is at most this wide; the name is cut with an ellipsis to fit, the
            detail is left out first.

    Returns:
        H×W×3 BGR uint8, to be read only; at least 1×1.
    """
    pad = max(round(size * 0.3), 2)
    room = max(widest - 2 * pad, 1)
    name, detail = _clean(label.name), _clean(label.detail)
    gap = round(size * 0.4) if detail else 0
    if detail and _width(name, size, bold=True) + gap + _width(detail, size) > room:
        detail, gap = "", 0
    name = _cut(name, size, room)
    left = _width(name, size, bold=True)
    width = min(left + gap + _width(detail, size) + 2 * pad, max(widest, 1))
    height = round(size * 1.5)
    picture = np.full((height, width, 3), label.colour, np.uint8)
    _write(picture, name, (pad, height), size, bold=True)
    _write(picture, detail, (pad + left + gap, height), size)
    picture.setflags(write=False)
    return picture


def _clean(text: str) -> str:
    # Line breaks and control characters have no glyph.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _cut(text: str, size: int, room: int) -> str:
    if _width(text, size, bold=True) <= room:
        return text
    while text and _width(text + "…", size, bold=True) > room:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


@lru_cache(maxsize=1)
def _font() -> Any:
    """OpenCV 5 carries fonts for most scripts; None: OpenCV 4 has stroked ASCII only, and Pillow's
    own font is better than that."""
    return cv2.FontFace("uni") if hasattr(cv2, "FontFace") else None


def _width(text: str, size: int, *, bold: bool = False) -> int:
    if not text:
        return 0
    if (font := _font()) is None:
        from PIL import ImageFont

        return int(ImageFont.load_default(size).getlength(_ascii(text))) + (2 if bold else 1)
    x, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), font, size, 700 if bold else 400)
    return int(x + width) + 1


def _write(
    picture: Image, text: str, at: tuple[int, int], size: int, *, bold: bool = False
) -> None:
    """Write a text; ``at`` is its left end and the height of the plate."""
    if not text:
        return
    if (font := _font()) is not None:
        origin = (at[0], round(at[1] * 0.5 + size * 0.36))
        cv2.putText(picture, text, origin, INK, font, size, 700 if bold else 400)
        return
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    canvas = Pictures.fromarray(picture)
    ImageDraw.Draw(canvas).text(
        (at[0], at[1] // 2),
        _ascii(text),
        font=ImageFont.load_default(size),
        fill=INK,
        anchor="lm",
        stroke_width=0.4 if bold else 0,
    )
    picture[:] = np.asarray(canvas)


def _ascii(text: str) -> str:
    """What Pillow's built-in font has: letters without their accents."""
    text = text.replace("σ", "+-").replace("…", "...").replace("±", "+-")
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()
