"""Embeddings of the training sets' pictures by the encoder, computed once and kept by model id."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..data.faces import FaceRow, FaceZips, sha256_of
from ..data.teacher import centre_crop
from ..errors import DataError
from .embed import Progress, silent

log = logging.getLogger(__name__)
Floats = NDArray[np.float32]
_CHUNK: Final = 128


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Pictures and what the encoder says of them.

    Attributes:
        rows: N rows, in the order asked for.
        mu: N×D, not normalised.
        logvar: N×D.
    """

    rows: tuple[FaceRow, ...]
    mu: Floats
    logvar: Floats

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Embedded:
        """These rows only."""
        index = np.asarray(chosen, np.int64)
        return Embedded(tuple(self.rows[i] for i in index), self.mu[index], self.logvar[index])


def embed_rows(
    encoder: Encoder,
    folder: Path,
    rows: Sequence[FaceRow],
    *,
    cache: Path,
    progress: Progress = silent,
) -> Embedded:
    """Embeddings of the clean pictures, cut to the template.

    They are kept in ``cache``, a file for each set and encoder, so that a later call is a read.

    Args:
        encoder: the network; its id and arithmetic are the cache's key.
        folder: holds the zips.
        rows: N rows of any sets.
        cache: folder of the kept embeddings.
        progress: told (what, done, total).

    Raises:
        DataError: a picture cannot be read, or a cache file is damaged.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[FaceRow, Floats] = {}
    for name in dict.fromkeys(row.dataset for row in rows):
        members = [row for row in rows if row.dataset == name]
        file = cache / f"embed_{encoder.model_id}_{encoder.precision}_{name}.npz"
        key = sha256_of(folder / f"{name}.csv")
        table = _read(file, key)
        missing = [row for row in members if row.member not in table]
        if missing:
            table |= _compute(encoder, folder, missing, f"embed {name}", progress)
            _write(file, key, table)
        found |= {row: table[row.member] for row in members}
    both = np.stack([found[row] for row in rows]) if rows else np.zeros((0, 2, encoder.dim))
    both = both.astype(np.float32, copy=False)
    return Embedded(tuple(rows), both[:, 0], both[:, 1])


def _compute(
    encoder: Encoder, folder: Path, rows: Sequence[FaceRow], what: str, progress: Progress
) -> dict[str, Floats]:
    zips = FaceZips(folder)
    table: dict[str, Floats] = {}

    def read(start: int) -> NDArray[np.uint8]:
        chunk = rows[start : start + _CHUNK]
        return np.stack([centre_crop(zips.read(row))[:, :, ::-1] for row in chunk])

    starts = range(0, len(rows), _CHUNK)
    # One chunk is decoded while the one before it is embedded.
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0)
        for start in starts:
            crops = ahead.result()
            if start + _CHUNK < len(rows):
                ahead = pool.submit(read, start + _CHUNK)
            mu, logvar = encoder.embed(np.ascontiguousarray(crops))
            for row, mean, variance in zip(rows[start : start + _CHUNK], mu, logvar, strict=True):
                table[row.member] = np.stack([mean, variance])
            progress(what, start + len(crops), len(rows))
    zips.close()
    return table


def _read(file: Path, key: str) -> dict[str, Floats]:
    if not file.is_file():
        return {}
    try:
        with np.load(file) as saved:
            if str(saved["key"]) != key:
                log.info("%s was made from another list; computing it again", file.name)
                return {}
            return dict(zip(saved["members"].tolist(), saved["values"], strict=True))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"the cache {file} is damaged ({error}); delete it") from error


def _write(file: Path, key: str, table: dict[str, Floats]) -> None:
    partial = file.with_name(f".{file.name}")
    with partial.open("wb") as out:
        np.savez(out, key=key, members=list(table), values=np.stack(list(table.values())))
    partial.replace(file)
