"""HDR and wide-gamut pictures (PQ, HLG, BT.2020) in the colours of an ordinary screen.

FFmpeg's own conversion (swscale) takes ten seconds to start, and the wheels of PyAV hold neither
zscale nor libplacebo. With 8 bits between the steps a picture is within three levels of what
arithmetic in full precision gives, in a tenth of the time.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from ..core.types import Image

# FFmpeg's numbers of transfers, primaries and matrices.
PQ, HLG = 16, 18
_BT2020, _BT2020_MATRICES = 9, (9, 10)

# Brightness of white paper in HDR (ITU-R BT.2408); it becomes about 96 % of the screen's white.
_WHITE_NITS = 203.0
_HLG_NITS, _HLG_GAMMA = 1000.0, 1.2
_LUMINANCE = np.array([[0.0593, 0.6780, 0.2627]], np.float32)  # of blue, green, red in BT.2020
# Up to here (1: white paper) the picture stays as it is; above it highlights are compressed.
_KNEE = 0.75
_BRIGHTEST = 2.0  # what is brighter is white
_SCREEN_GAMMA = 2.4
# From the BT.2020 primaries to those of BT.709, in linear light, red, green, blue (BT.2087).
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_ROWS = 64  # at once: they fit into the processor's cache


class ToneMap:
    """From R'G'B' to what an ordinary screen (BT.709) shows alike.

    Args:
        transfer: FFmpeg's number (``color_trc``); anything but PQ and HLG has ordinary brightness.
        wide: the primaries are those of BT.2020.
    """

    def __init__(self, transfer: int, *, wide: bool) -> None:
        self._light = _light(transfer)
        self._hybrid = transfer == HLG
        self._screen = _screen(compress=transfer in (PQ, HLG))
        self._mix = np.ascontiguousarray(_TO_BT709[::-1, ::-1]) if wide else None

    def convert(self, image: Image) -> Image:
        """H×W×3 BGR uint8, in both."""
        found = np.empty_like(image)
        for top in range(0, len(image), _ROWS):
            light = cv2.LUT(image[top : top + _ROWS], self._light)
            if self._hybrid:  # so far it is the light of the scene
                gain = cv2.pow(cv2.transform(light, _LUMINANCE), _HLG_GAMMA - 1)
                light = light * gain[..., None]
            if self._mix is not None:
                light = cv2.transform(light, self._mix)
                np.maximum(light, 0, out=light)
            # The square root spends the steps where the eye sees them.
            codes = cv2.convertScaleAbs(cv2.sqrt(light), alpha=255 / _BRIGHTEST**0.5)
            cv2.LUT(codes, self._screen, dst=found[top : top + _ROWS])
        return found


def tone_map_of(frame: VideoFrame) -> ToneMap | None:
    """What a frame's picture needs; None where an ordinary screen shows it as it is."""
    transfer = frame.color_trc if frame.color_trc in (PQ, HLG) else 0
    wide = frame.color_primaries == _BT2020 or frame.colorspace in _BT2020_MATRICES
    return _tone_map(transfer, wide) if transfer or wide else None


@functools.cache
def _tone_map(transfer: int, wide: bool) -> ToneMap:
    return ToneMap(transfer, wide=wide)


def _light(transfer: int) -> NDArray[np.float32]:
    """Light of each code of 8 bits; 1 is white paper."""
    code = np.linspace(0, 1, 256)
    if transfer == PQ:
        power = code ** (32 / 2523)
        nits = 10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (
            16384 / 2610
        )
        light = nits / _WHITE_NITS
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        light = scene * (_HLG_NITS / _WHITE_NITS) ** (1 / _HLG_GAMMA)
    else:
        light = code**_SCREEN_GAMMA
    return light.astype(np.float32)


def _screen(*, compress: bool) -> NDArray[np.uint8]:
    """The code of each step of light, see ``ToneMap.convert``."""
    light: NDArray[Any] = _BRIGHTEST * np.linspace(0, 1, 256) ** 2
    if compress:
        room = 1 - _KNEE
        high = _KNEE + room * (1 - np.exp(-(light - _KNEE) / room))
        light = np.where(light <= _KNEE, light, high)
    code = 255 * np.minimum(light, 1) ** (1 / _SCREEN_GAMMA)
    return np.asarray(np.rint(code), np.uint8)
