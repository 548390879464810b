"""LFW for the commands: its crops with a progress bar, clean and spoilt embeddings of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..data.degrade import degrade_randomly
from ..evaluation.embed import counted, embed_all
from ..evaluation.lfw import (
    Crops,
    Pairs,
    read_crops,
    read_pairs,
)
from .console import CACHE

Floats = NDArray[np.float32]
SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Lfw:
    """Pairs and crops."""

    pairs: Pairs
    crops: Crops


def open_lfw(folder: Path, *, folds: int = 10, tell: Callable[..., None]) -> Lfw:
    """Read LFW's pairs and cut its faces (kept in the cache).

    Args:
        folder: holds ``lfw_grey.zip`` and ``pairs.txt``.
        folds: use the first folds only.
        tell: told (what, done, total).

    Raises:
        DataError: it is not there.
    """
    pairs = read_pairs(folder / "pairs.txt")
    if folds < 10:
        pairs = pairs.folds(folds)
    detected = counted(tell, "detect and align", len(pairs.names))
    return Lfw(pairs, read_crops(folder, pairs.names, cache=CACHE, progress=detected))


def embed_lfw(encoder: Encoder, lfw: Lfw, *, tell: Callable[..., None]) -> tuple[Floats, Floats]:
    """mu and logvar of the pictures as they are, N×D each (kept in the cache)."""
    return _kept(encoder, lfw, "clean", lambda: lfw.crops.faces, tell)


def embed_spoilt(encoder: Encoder, lfw: Lfw, *, tell: Callable[..., None]) -> tuple[Floats, Floats]:
    """mu and logvar of every picture spoilt at random, always the same way (kept in the cache)."""

    def spoilt() -> Image:
        rng = np.random.default_rng(SEED)
        return np.stack([degrade_randomly(face, rng)[0] for face in lfw.crops.faces])

    return _kept(encoder, lfw, f"spoilt{SEED}", spoilt, tell)


def _kept(
    encoder: Encoder,
    lfw: Lfw,
    what: str,
    faces: Callable[[], Image],
    tell: Callable[..., None],
) -> tuple[Floats, Floats]:
    key = f"{encoder.model_id}_{encoder.precision}_{what}_{len(lfw.pairs.names)}"
    file = CACHE / f"lfw_embed_{key}.npz"
    if file.is_file():
        with np.load(file) as saved:
            return saved["mu"], saved["logvar"]
    mu, logvar = embed_all(encoder, faces(), what=f"embed LFW ({what})", progress=tell)
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    with partial.open("wb") as out:
        np.savez(out, mu=mu, logvar=logvar)
    partial.replace(file)
    return mu, logvar
