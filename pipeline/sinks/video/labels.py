"""Name plates: text on a coloured plate, in any script that the available fonts have."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...core.types import Image

Colour = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

INK: Colour = (20, 20, 20)
"""Text on a plate: dark, because both plate colours are bright."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a plate says.

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


def _width(text: str, size: int, *, bold: bool = False) -> int:
    return _fonts().width(text, size, bold) if text else 0


def _write(
    picture: Image, text: str, at: tuple[int, int], size: int, *, bold: bool = False
) -> None:
    if text:
        _fonts().write(picture, text, at, size, bold)


@dataclass(frozen=True, slots=True)
class _Fonts:
    """How wide a text is, and how to write it with its plate's left end and height at ``at``."""

    width: Callable[[str, int, bool], int]
    write: Callable[[Image, str, tuple[int, int], int, bool], None]


@lru_cache(maxsize=1)
def _fonts() -> _Fonts:
    # OpenCV 5 carries fonts for most scripts; OpenCV 4 has stroked ASCII only, Pillow's own
    # font is better than that.
    return _opencv_fonts() if hasattr(cv2, "FontFace") else _pillow_fonts()


def _opencv_fonts() -> _Fonts:
    face = cv2.FontFace("uni")
    weights = {False: 400, True: 700}

    def width(text: str, size: int, bold: bool) -> int:
        x, _, w, _ = cv2.getTextSize((1, 1), text, (0, 0), face, size, weights[bold])
        return int(x + w) + 1

    def write(picture: Image, text: str, at: tuple[int, int], size: int, bold: bool) -> None:
        origin = (at[0], round(at[1] * 0.5 + size * 0.36))
        cv2.putText(picture, text, origin, INK, face, size, weights[bold])

    return _Fonts(width, write)


def _pillow_fonts() -> _Fonts:
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    def plain(text: str) -> str:
        # The built-in font has ASCII only: keep the letters, drop their accents.
        text = text.replace("σ", "±").replace("…", "...").replace("±", "+-")
        return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()

    def width(text: str, size: int, bold: bool) -> int:
        return int(ImageFont.load_default(size).getlength(plain(text))) + (2 if bold else 1)

    def write(picture: Image, text: str, at: tuple[int, int], size: int, bold: bool) -> None:
        canvas = Pictures.fromarray(picture)
        ImageDraw.Draw(canvas).text(
            (at[0], at[1] // 2),
            plain(text),
            font=ImageFont.load_default(size),
            fill=INK,
            anchor="lm",
            stroke_width=0.4 if bold else 0,
        )
        picture[:] = np.asarray(canvas)

    return _Fonts(width, write)
