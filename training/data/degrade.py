"""Degradations of faces by kind and level, and the random views that training draws.

All of it works on RGB uint8 pictures and draws from a numpy generator, so that a view can be
drawn again from its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models.backbones import INPUT_SIZE

Picture = NDArray[np.uint8]
Kind = Literal["blur", "motion", "downscale", "noise", "jpeg", "occlusion", "light"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
# Chances that a view has no, one, or several degradations.
CLEAN_CHANCE: Final = 0.25
SINGLE_CHANCE: Final = 0.45
GREY_CHANCE: Final = 0.3


def degrade(image: Picture, kind: Kind, level: float, rng: np.random.Generator) -> Picture:
    """Degrade a picture.

    Args:
        image: H×W×3 RGB uint8; for the levels' meaning 112×112 is assumed.
        kind: what to do.
        level: 0 (nothing) to 1 (hardly recognisable).
        rng: places occlusions, draws noise and directions.

    Raises:
        ValueError: level outside 0..1, or an unknown kind.
    """
    if not 0.0 <= level <= 1.0:
        raise ValueError(f"level must be within 0..1, not {level}")
    if kind not in _BY_KIND:
        raise ValueError(f"no degradation is called {kind!r}; choose from {', '.join(KINDS)}")
    return image if level == 0.0 else _BY_KIND[kind](image, level, rng)


def _blur(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Gaussian blur, standard deviation up to 5 px."""
    sigma = 0.3 + 4.7 * level
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _motion(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Blur along a line of up to 21 px in a random direction."""
    length = 3 + 2 * round(9 * level)
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    centre = ((length - 1) / 2, (length - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(0, 180)), 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _downscale(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Shrink to as little as a tenth of the side (11 px) and enlarge again."""
    height, width = image.shape[:2]
    factor = 0.1 ** (0.15 + 0.85 * level)
    small = (max(2, round(width * factor)), max(2, round(height * factor)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=way), np.uint8)


def _noise(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Gaussian noise, standard deviation up to 70 of 255."""
    noise = rng.standard_normal(image.shape, np.float32) * (2 + 68 * level)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _jpeg(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """JPEG of quality 60 down to 2."""
    quality = round(60 * (2 / 60) ** level)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _occlusion(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """A box of one colour or of noise over up to 60 % of the picture."""
    height, width = image.shape[:2]
    area = (0.02 + 0.58 * level) * height * width
    aspect = float(np.exp(rng.uniform(-0.6, 0.6)))
    h = int(np.clip(np.sqrt(area * aspect), 2, height))
    w = int(np.clip(area / h, 2, width))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    out = image.copy()
    if rng.random() < 0.7:
        out[top : top + h, left : left + w] = rng.integers(0, 256, 3)
    else:
        out[top : top + h, left : left + w] = rng.integers(0, 256, (h, w, 3))
    return out


def _light(image: Picture, level: float, rng: np.random.Generator) -> Picture:
    """Too dark or too bright (gamma up to 5), with the contrast lost on the way."""
    gamma = float(np.exp(level * 1.6 * rng.choice((-1.0, 1.0))))
    table = 255.0 * (np.arange(256) / 255.0) ** gamma
    table = 127.5 + (table - 127.5) * (1.0 - 0.5 * level)
    return np.asarray(cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)), np.uint8)


_BY_KIND: Final[dict[Kind, Callable[[Picture, float, np.random.Generator], Picture]]] = {
    "blur": _blur,
    "motion": _motion,
    "downscale": _downscale,
    "noise": _noise,
    "jpeg": _jpeg,
    "occlusion": _occlusion,
    "light": _light,
}


def degrade_randomly(
    image: Picture, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Picture, float]:
    """No, one, or two to three degradations at random levels.

    Args:
        image: H×W×3 RGB or BGR uint8.
        strength: the highest level that may be drawn, 0..1.

    Returns:
        The picture and the highest level used (0 when clean).
    """
    draw = rng.random()
    if draw < CLEAN_CHANCE:
        return image, 0.0
    count = 1 if draw < CLEAN_CHANCE + SINGLE_CHANCE else int(rng.integers(2, 4))
    # Several together at full strength leave nothing to learn from.
    ceiling = 1.0 if count == 1 else 0.6
    worst = 0.0
    for kind in rng.choice(len(KINDS), count, replace=False):
        level = float(rng.uniform(0.02, ceiling)) * strength
        image = degrade(image, KINDS[kind], level, rng)
        worst = max(worst, level)
    return image, worst


def jitter_matrix(rng: np.random.Generator, *, size: int, strength: float) -> NDArray[np.float64]:
    """2×3 transform that cuts the template out of a larger picture, a little askew.

    Args:
        rng: draws the error of the alignment.
        size: side of the picture; the template lies in its centre.
        strength: 1 shifts by some 2 px, turns by some 3° and scales by some 4 % (standard
            deviations), as landmarks of different detectors do on poor pictures.
    """
    angle = float(rng.normal(0, 3.0)) * strength
    scale = float(np.exp(rng.normal(0, 0.04) * strength))
    centre = (size - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((centre, centre), angle, scale), np.float64)
    matrix[:, 2] += (INPUT_SIZE - size) / 2 + rng.normal(0, 2.0, 2) * strength
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class FaceView:
    """One random view of a picture.

    Attributes:
        degraded: 112×112×3 RGB uint8, what the encoder sees.
        clean: the same cut without the degradation, what the decoder is to make.
        level: the highest level of degradation, 0..1.
        matrix: 2×3, from the source picture to the view.
    """

    degraded: Picture
    clean: Picture
    level: float
    matrix: NDArray[np.float64]


def random_view(image: Picture, rng: np.random.Generator) -> FaceView:
    """A view for training: flip, small error of alignment, grey, degradations.

    Args:
        image: S×S×3 RGB uint8 with the 112×112 template in its centre.
    """
    size = image.shape[0]
    strength = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.2, 1.5))
    matrix = jitter_matrix(rng, size=size, strength=strength)
    if rng.random() < 0.5:
        matrix = matrix.copy()
        matrix[0] *= -1
        matrix[0, 2] += INPUT_SIZE - 1
    cut = cv2.warpAffine(
        image,
        matrix,
        (INPUT_SIZE, INPUT_SIZE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    clean = np.asarray(cut, np.uint8)
    if rng.random() < GREY_CHANCE:
        grey = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)
        clean = np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)
    degraded, level = degrade_randomly(clean, rng)
    return FaceView(degraded=degraded, clean=clean, level=level, matrix=matrix)
