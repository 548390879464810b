"""Validation on people held out of training: verification, and sigma against the error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from ..data.degrade import degrade_randomly
from ..data.face_sets import FaceRow, FaceZips, centre_crop
from ..losses.identity import cosine_distance
from ..models.vae import VaeEncoder, evaluating
from .trunk import Front

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Held-out pictures as the trunk's frozen front sees them, clean (first N), degraded (last N).

    Attributes:
        maps: 2N×C×S×S float16.
        means: 2N×M, of the stages passed.
        target: N×D, the teacher's clean embedding.
        level: 2N, 0 for the clean ones.
        person: N labels.
    """

    maps: Tensor
    means: Tensor
    target: Tensor
    level: Floats
    person: NDArray[np.str_]

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Maps and means, 64 pictures at a time."""
        for start in range(0, len(self.maps), 64):
            yield self.maps[start : start + 64], self.means[start : start + 64]


def prepare_held_out(
    folder: Path, rows: Sequence[FaceRow], targets: Floats, front: Front, *, seed: int = 1
) -> HeldOut:
    """Read the pictures, degrade each once, run the front."""
    clean, degraded, levels = [], [], []
    with FaceZips(folder) as zips:
        for i, row in enumerate(rows):
            face = centre_crop(zips.read(row))
            bad, level = degrade_randomly(face, np.random.default_rng((seed, i)))
            clean.append(face)
            degraded.append(bad)
            levels.append(level)
    maps, means = [], []
    stack = np.stack([*clean, *degraded]).transpose(0, 3, 1, 2)
    for start in range(0, len(stack), 64):
        map_, mean = front(torch.from_numpy(stack[start : start + 64].copy()).float())
        maps.append(map_.half().cpu())
        means.append(mean.cpu())
    return HeldOut(
        maps=torch.cat(maps),
        means=torch.cat(means),
        target=torch.from_numpy(targets),
        level=np.array([0.0] * len(rows) + levels, np.float32),
        person=np.array([r.identity or f"x{i}" for i, r in enumerate(rows)]),
    )


def validate(encoder: VaeEncoder, tail: nn.Module, held: HeldOut) -> dict[str, float]:
    """Figures of tail and heads on held-out pictures.

    Returns:
        ``distil`` and ``distil_clean`` (1 − cosine to the teacher, degraded and clean),
        ``tar_clean`` and ``tar_degraded`` (true accept rate at a false accept rate of 0.1 %, clean
        against clean and degraded against clean), ``sigma_level`` (Spearman of sigma with the
        level), ``sigma_error`` (of sigma with the distance to the teacher).
    """
    device = next(encoder.parameters()).device
    mus, logvars = [], []
    with evaluating(encoder), torch.no_grad():
        for maps, means in held.parts():
            mu, logvar = encoder.heads(*tail(maps.float().to(device), means.to(device)))
            mus.append(mu.cpu())
            logvars.append(logvar.cpu())
    mu, logvar = torch.cat(mus), torch.cat(logvars)
    count = len(held.target)
    clean, bad = mu[:count], mu[count:]
    unit_clean, unit_bad = (torch.nn.functional.normalize(m, dim=1).numpy() for m in (clean, bad))
    same = held.person[:, None] == held.person[None]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    error = 1 - torch.nn.functional.cosine_similarity(mu, held.target.repeat(2, 1), dim=1).numpy()
    sigma = logvar.mean(dim=1).numpy()
    return {
        "distil": float(cosine_distance(bad, held.target)),
        "distil_clean": float(cosine_distance(clean, held.target)),
        "tar_clean": _tar(unit_clean @ unit_clean.T, same, upper),
        "tar_degraded": _tar(unit_clean @ unit_bad.T, same, ~np.eye(count, dtype=bool)),
        "sigma_level": float(spearmanr(sigma, held.level).statistic),
        "sigma_error": float(spearmanr(sigma, error).statistic),
    }


def _tar(
    similarity: Floats, same: NDArray[np.bool_], use: NDArray[np.bool_], far: float = 1e-3
) -> float:
    genuine, impostor = similarity[same & use], similarity[~same & use]
    if not len(genuine) or not len(impostor):
        return float("nan")
    return float((genuine > np.quantile(impostor, 1 - far)).mean())
