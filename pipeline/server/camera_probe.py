"""One picture of a URL that somebody wants to add, taken in a decoder's process."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from facestream.engines.errors import printable

from ..core.config import CameraSettings, Settings
from ..core.errors import SourceError, UsageError
from ..core.types import Image
from ..ingest.live_reader import live_options
from ..ingest.readers import camera_source
from ..sources import DEFAULTS
from ..sources.process.link import DecoderLimits
from ..sources.process.source import DecoderFailed, ProcessSource
from .problems import RequestRefused

TIMEOUT: Final = 5.0
LONGEST: Final = 15.0
"""Seconds until no picture more is waited for."""
_SIDE: Final = 1280


def picture_of(camera: CameraSettings, settings: Settings) -> bytes:
    """A JPEG of the first frame, at most 1280 pixels wide or high.

    Raises:
        RequestRefused: 422 with the reason ``no_picture``; the message has no part of the URL.
    """
    live = settings.live.model_copy(update=camera.overrides().get("live", {}))
    if camera.transport is not None:
        live = live.model_copy(update={"transport": camera.transport})
    halt = threading.Event()
    options = replace(
        live_options(DEFAULTS, live),
        open_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
        max_frames=1,
        refuse_above=int(settings.limits.most_megapixels * 1e6),
        halt=halt,
    )
    limits = DecoderLimits(settings.runtime.decoder_memory, settings.runtime.decoder_timeout)
    timer = threading.Timer(LONGEST, halt.set)
    timer.start()
    try:
        spec = camera_source("the camera", camera, {})
        with ProcessSource(spec, options, limits) as source:
            frame = next(iter(source), None)
    except (SourceError, UsageError, DecoderFailed) as error:
        raise RequestRefused(422, printable(str(error)), reason="no_picture") from None
    finally:
        timer.cancel()
    if frame is None:
        raise RequestRefused(422, "the camera delivered no picture", reason="no_picture")
    return _jpeg(frame.image)


def _jpeg(image: Image) -> bytes:
    height, width = image.shape[:2]
    factor = _SIDE / max(height, width, _SIDE)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data.tobytes()
