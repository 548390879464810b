"""Frames of videos, sampled in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.container import InputContainer
from facestream.pipeline.core.types import Image

from ..errors import DataError

_TURNS: Final = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


def sample_frames(path: Path, *, every: float) -> Iterator[tuple[float, Image]]:
    """Upright frames of a video, at least ``every`` seconds apart.

    Yields:
        Time in seconds since the start and the picture, H×W×3 BGR uint8.

    Raises:
        DataError: it cannot be opened, has no video, or breaks off (what came before was good).
    """
    try:
        with av.open(str(path)) as container:
            yield from _sample(container, path, every)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"cannot decode {path}: {error.strerror or error}") from error


def _sample(container: InputContainer, path: Path, every: float) -> Iterator[tuple[float, Image]]:
    if not container.streams.video:
        raise DataError(f"{path} has no video in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = float(stream.average_rate or 25)
    start: float | None = None
    wanted = 0.0
    for index, frame in enumerate(container.decode(stream)):
        time = frame.time if frame.time is not None else index / rate
        start = time if start is None else start
        since = time - start
        if since + 1e-6 < wanted:
            continue
        wanted = since + every
        image = np.ascontiguousarray(frame.to_ndarray(format="bgr24"), dtype=np.uint8)
        turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
        yield since, image if turn is None else np.asarray(cv2.rotate(image, turn), np.uint8)
