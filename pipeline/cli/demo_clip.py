"""The clip of ``facestream demo``: a camera that pans over two public-domain portraits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from facestream.engines.private_files import named
from numpy.typing import NDArray

from ..core.types import Image
from ..detection.portraits import portraits

WIDTH, HEIGHT, FPS, SECONDS = 854, 480, 25, 8


def write_clip(path: Path) -> None:
    """Render the clip as H.264: pan, zoom, sensor noise and changing light."""
    scene = _scene([portrait.image for portrait in portraits()])
    grain = _grain()
    with (
        open(path, "wb", opener=named) as raw,
        av.open(raw, "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(FPS * SECONDS):
            picture = _view(scene, number / (FPS * SECONDS - 1))
            # One field of noise, shifted about: it varies as fresh noise does, and is much cheaper.
            shifted = np.roll(grain, (number * 37 % HEIGHT, number * 101 % WIDTH), (0, 1))
            picture = np.asarray(cv2.add(picture, shifted, dtype=cv2.CV_8U), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _scene(pictures: list[Image]) -> Image:
    """The portraits side by side on a plain wall."""
    scene = np.full((900, 2300, 3), (92, 84, 76), np.uint8)
    for picture, left in zip(pictures, (320, 1510), strict=True):
        scene[130:530, left : left + 400] = cv2.resize(picture, (400, 400))
    return scene


def _grain() -> NDArray[np.int16]:
    """Sensor noise for all three channels alike, H×W×3."""
    noise = np.random.default_rng(7).normal(0, 5, (HEIGHT, WIDTH, 1)).round().astype(np.int16)
    return np.repeat(noise, 3, axis=2)


def _view(scene: Image, t: float) -> Image:
    """What the camera sees at ``t`` in 0..1: it rests, pans to the right, and rests again."""
    pan = float(np.clip((t - 0.25) / 0.5, 0, 1))
    pan = pan * pan * (3 - 2 * pan)
    zoom = 1.35 - 0.35 * np.cos(2 * np.pi * t)
    width = WIDTH / zoom * 1.2
    centre = (520 + pan * 1190 + 12 * np.sin(17 * t), 330 + 25 * np.sin(9 * t))
    scale = WIDTH / width
    turn = cv2.getRotationMatrix2D((0.0, 0.0), 4 * float(np.sin(7 * t)), scale)
    turn[:, 2] = np.array([WIDTH / 2, HEIGHT / 2]) - turn[:, :2] @ np.array(centre)
    light = 1 + 0.25 * float(np.sin(11 * t))
    view = cv2.warpAffine(
        scene, turn, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.convertScaleAbs(view, alpha=light), np.uint8)
