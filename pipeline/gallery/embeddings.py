"""Embeddings that come from outside: read with limits, and checked before they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.errors import ModelError
from numpy.typing import NDArray

from ..core.arrays import LARGEST, read_arrays
from ..core.errors import GalleryError
from ..core.types import Floats
from ..storage.names import printable
from .records import Embedded

MOST_VALUES = 4096
"""Of an embedding."""
# The shipped encoder's embeddings are about 3 long; an index cannot tell 0 and infinity from them.
LENGTHS = (1e-3, 1e3)
MOST_LOGVAR = 30.0


def usable(mu: Floats) -> NDArray[np.bool_]:
    """Which of N×D embeddings are numbers of a sensible length."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("nd,nd->n", mu, mu))
    # Not a number is in no range.
    found: NDArray[np.bool_] = (length >= LENGTHS[0]) & (length <= LENGTHS[1])
    return found


def check_embeddings(mu: Floats, logvar: Floats, *, dim: int | None) -> None:
    """Check N×D embeddings before they are stored; ``dim`` is D of the gallery, None if open.

    Raises GalleryError if one is not finite, of another length, or no sensible embedding.
    """
    if mu.ndim != 2 or mu.shape != logvar.shape or not 0 < mu.shape[1] <= MOST_VALUES:
        raise GalleryError(f"embeddings of the shapes {mu.shape} and {logvar.shape} are refused")
    if dim is not None and mu.shape[1] != dim:
        raise GalleryError(
            f"an embedding with {mu.shape[1]} values is refused: those of this model have {dim}"
        )
    if not usable(mu).all():
        raise GalleryError(
            "an embedding is refused: it has values that are not finite, or a length outside "
            f"{LENGTHS[0]:g} to {LENGTHS[1]:g}"
        )
    if not (np.abs(logvar) <= MOST_LOGVAR).all():
        raise GalleryError(
            f"an embedding is refused: its log-variances are not finite or beyond ±{MOST_LOGVAR:g}"
        )


def shipped_dim(model_id: str | None) -> int | None:
    """How long the embeddings of the shipped encoder are; None for another model."""
    try:
        card = load_card("vae_encoder")
    except ModelError:
        return None
    return card.outputs[0].shape[-1] if card.id == model_id else None


def read_embeddings(path: Path, most: int) -> dict[int, Embedded]:
    """The embeddings of an export by photo, at most ``most``; empty where there is no file.

    Raises GalleryError if the file is damaged, too large, or has something else in it.
    """
    try:
        # What so many photos explain: two arrays of float64 at most.
        arrays = read_arrays(path, largest=min(LARGEST, 2**20 + 16 * MOST_VALUES * most))
        ids, model = arrays["photo_id"], arrays["model_id"]
        mu, logvar = arrays["mu"].astype(np.float32), arrays["logvar"].astype(np.float32)
        kinds = (ids.dtype.kind, model.dtype.kind, model.shape)
        if mu.shape != logvar.shape or ids.shape != mu.shape[:1] or kinds != ("i", "U", ()):
            raise ValueError("the arrays do not fit together")
        if mu.ndim != 2 or mu.shape[1] > MOST_VALUES or len(mu) > most:
            raise ValueError(f"its embeddings have the shape {mu.shape}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GalleryError(
            f"'{printable(str(path))}' is damaged ({printable(str(reason))}); import without "
            "--trust-embeddings: the crops are embedded again"
        ) from error
    return {int(ids[row]): Embedded(str(model), mu[row], logvar[row]) for row in range(len(mu))}
