"""Aligned faces for the gates, clear to poor: what cameras make of two portraits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import cv2
import numpy as np

from ..core.types import Image
from ..detection.portraits import Portrait, portraits
from .align import align_faces

SIZE: Final = 112
COUNT: Final = 64

# Landmarks are moved by so many pixels of the portrait (a face is about 90 wide), each way.
_SHIFT = 2.5

Degradation = Callable[[Image, float, np.random.Generator], Image]


@cache
def gate_faces() -> Image:
    """64×112×112×3 BGR uint8, the same at every call; not to be written to.

    Each portrait is aligned a little differently each time, one of two mirrored, and then
    left clear, or blurred, made small, darkened, made noisy or compressed, each in steps: so that
    the encoder's sigma has an order to keep.
    """
    rng = np.random.default_rng(0)
    kinds = (_clear, _blur, _small, _dark, _noise, _jpeg)
    people = portraits()
    faces = np.empty((COUNT, SIZE, SIZE, 3), np.uint8)
    for i in range(COUNT):
        level = (i // (2 * len(kinds)) + 1) / (COUNT // (2 * len(kinds)) + 1)
        face = _aligned(people[i % len(people)], rng)
        if rng.random() < 0.5:
            face = np.ascontiguousarray(face[:, ::-1])
        faces[i] = kinds[(i // 2) % len(kinds)](face, level, rng)
    faces.setflags(write=False)
    return faces


def _aligned(portrait: Portrait, rng: np.random.Generator) -> Image:
    moved = portrait.landmarks + rng.uniform(-_SHIFT, _SHIFT, (1, 5, 2))
    return np.asarray(align_faces(portrait.image, moved)[0], np.uint8)


def _clear(face: Image, level: float, rng: np.random.Generator) -> Image:
    return face


def _blur(face: Image, level: float, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), 0.5 + 2.5 * level), np.uint8)


def _small(face: Image, level: float, rng: np.random.Generator) -> Image:
    side = round(SIZE * (1 - 0.75 * level))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _dark(face: Image, level: float, rng: np.random.Generator) -> Image:
    return np.round(face * (1 - 0.8 * level)).astype(np.uint8)


def _noise(face: Image, level: float, rng: np.random.Generator) -> Image:
    noisy = face + rng.normal(0, 5 + 20 * level, face.shape)
    return np.clip(noisy.round(), 0, 255).astype(np.uint8)


def _jpeg(face: Image, level: float, rng: np.random.Generator) -> Image:
    quality = round(60 - 50 * level)
    _, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
