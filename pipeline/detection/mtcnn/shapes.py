"""The shapes in which the detector's networks are fed: what plans for them are built for."""

from __future__ import annotations

from typing import Final

from facestream.engines.options import ShapeRange

# Batches of R- and O-Net are of these sizes, see ``networks``.
CROPS: Final = (1, 2, 4, 8, 16, 32, 64)

# Longest side of a level of the pyramid that a plan takes: a 4K picture searched down to 12
# pixels, or a photo of 24 megapixels down to 18.
LONGEST: Final = 4096

SHAPES: Final = {
    # One level at a time. Usual is the largest level of a 1080p frame searched down to 40 pixels.
    "mtcnn_pnet": ShapeRange((1, 3, 12, 12), (1, 3, 324, 576), (1, 3, LONGEST, LONGEST)),
    "mtcnn_rnet": ShapeRange((1, 3, 24, 24), (64, 3, 24, 24), (64, 3, 24, 24), CROPS),
    "mtcnn_onet": ShapeRange((1, 3, 48, 48), (16, 3, 48, 48), (64, 3, 48, 48), CROPS),
}
"""By network; of its own input, N×3×H×W."""
