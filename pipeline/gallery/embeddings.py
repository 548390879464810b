"""Embeddings that come from outside: read with limits, and checked before they are stored."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.errors import ModelError
from facestream.engines.private_files import regular
from numpy.typing import NDArray

from ..core.errors import GalleryError
from ..core.types import Floats
from ..storage.names import printable
from .records import Embedded

MOST_VALUES = 4096
"""Of an embedding."""
# The shipped encoder's embeddings are about 3 long; an index cannot tell 0 and infinity from them.
LENGTHS = (1e-3, 1e3)
MOST_LOGVAR = 30.0

_HEADER_BYTES = 4096
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, SyntaxError)


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

    Nothing is unpacked beyond the size that the number of photos explains.

    Raises GalleryError if the file is damaged, too large, or has something else in it.
    """
    try:
        with open(path, "rb", opener=regular) as file, zipfile.ZipFile(file) as archive:
            ids = _array(archive, "photo_id", "iu", (most,))
            model = _array(archive, "model_id", "U", ())
            rows = len(ids)
            mu = _array(archive, "mu", "f", (rows, MOST_VALUES)).astype(np.float32)
            logvar = _array(archive, "logvar", "f", (rows, MOST_VALUES)).astype(np.float32)
        if mu.shape != logvar.shape or ids.shape != mu.shape[:1]:
            raise ValueError("the arrays do not fit together")
    except FileNotFoundError:
        return {}
    except (*_DAMAGE, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise GalleryError(
            f"'{printable(str(path))}' is damaged ({printable(str(reason))}); import without "
            "--trust-embeddings: the crops are embedded again"
        ) from error
    return {int(ids[row]): Embedded(str(model), mu[row], logvar[row]) for row in range(rows)}


def _array(archive: zipfile.ZipFile, name: str, kinds: str, most: tuple[int, ...]) -> NDArray[Any]:
    """An array of an npz, whose size is checked before there is memory for it."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = _header(file)
        if dtype.kind not in kinds or dtype.itemsize > 1024:
            raise ValueError(f"{name} has the type {dtype}")
        fits = len(shape) == len(most)
        if not fits or any(n > limit for n, limit in zip(shape, most, strict=True)):
            raise ValueError(f"{name} has the shape {shape}, and at most {most} is read")
        size = math.prod(shape) * dtype.itemsize
        content = file.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name} has another size than it says")
    return np.frombuffer(content, dtype).reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("it is of another version")
    found = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER_BYTES)
    shape, fortran, dtype = found
    if fortran:
        raise ValueError("an array is stored by columns")
    return shape, dtype
