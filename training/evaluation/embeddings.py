"""Aligned faces through an encoder; the training sets' pictures are kept by model id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..data.cache import cached_rows
from ..data.face_sets import FaceRow, centre_crop, read_chunks, sha256_of
from ..progress import ReportProgress, counted, silent

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedRows:
    """N pictures with their mu (N×D, not normalised) and logvar (N×D)."""

    rows: tuple[FaceRow, ...]
    mu: Floats
    logvar: Floats


def embed_all(
    encoder: Encoder,
    crops: Image,
    *,
    what: str = "embed",
    progress: Callable[[str, int, int], None] = silent,
) -> tuple[Floats, Floats]:
    """mu and logvar (N×D each) of many crops, in parts."""
    mus, logvars = [], []
    for start in range(0, len(crops), 256):
        mu, logvar = encoder.embed(crops[start : start + 256])
        mus.append(mu)
        logvars.append(logvar)
        progress(what, start + len(mu), len(crops))
    return np.concatenate(mus), np.concatenate(logvars)


def embed_rows(
    encoder: Encoder,
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    cache: Path,
    progress: ReportProgress = silent,
) -> EmbeddedRows:
    """Embeddings of the clean pictures, cut to the template.

    Args:
        encoder: the network; its id and precision are the cache's key.
        rows: N rows of any sets.

    Raises:
        DataError: a picture cannot be read.
    """
    if not rows:
        none = np.zeros((0, encoder.dim), np.float32)
        return EmbeddedRows((), none, none)

    def make(missing: Sequence[FaceRow]) -> Floats:
        add = counted(progress, f"embed {missing[0].dataset}", len(missing))
        parts = []
        for chunk in read_chunks(folder, missing, size=128, progress=add):
            crops = np.stack([centre_crop(picture)[:, :, ::-1] for picture in chunk])
            parts.append(np.stack(encoder.embed(np.ascontiguousarray(crops)), axis=1))
        return np.concatenate(parts)

    both = cached_rows(
        rows,
        make,
        file=lambda name: cache / f"embed_{encoder.model_id}_{encoder.precision}_{name}.npz",
        key=lambda name: sha256_of(folder / f"{name}.csv"),
    ).astype(np.float32, copy=False)
    return EmbeddedRows(tuple(rows), both[:, 0], both[:, 1])
