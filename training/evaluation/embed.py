"""Many aligned faces through an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from facestream.pipeline.types import Image
from facestream.pipeline.vision.encoder import Encoder
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Told what is done, how far, and how much there is.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The default progress: none."""


def embed_all(
    encoder: Encoder, crops: Image, *, what: str = "embed", progress: Progress = silent
) -> tuple[Floats, Floats]:
    """mu and logvar (N×D each) of many crops, in parts."""
    mus, logvars = [], []
    for start in range(0, len(crops), 256):
        mu, logvar = encoder.embed(crops[start : start + 256])
        mus.append(mu)
        logvars.append(logvar)
        progress(what, start + len(mu), len(crops))
    return np.concatenate(mus), np.concatenate(logvars)
