"""Many aligned faces through an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Told what is done, how far, and how much there is.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The default progress: none."""


def counted(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """Adds up how many were just done, and tells how many have been in all.

    Args:
        progress: told (what, done, total).
        what: is done.
        total: how many there are.
    """
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return tell


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
