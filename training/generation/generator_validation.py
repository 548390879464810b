"""Validation of a generator on held-out people: figures, and a grid of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.face_sets import FaceRow
from ..losses.identity import direction
from ..losses.latent import kl_per_dimension
from ..models.appearance import FaceGenerator, with_holes
from .generator_views import read_held_out
from .holes import KINDS, hole_of_kind
from .judge import Judge
from .synthetic_pictures import grid, save_synthetic, to_pictures, to_tensor

SHOWN: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutFaces:
    """Held-out pictures, each with a hole of one of the kinds that repair is measured on.

    Attributes:
        picture: N×3×112×112, −1..1. mask: N×1×112×112, 1 where a picture is no streak.
        known: N×1×112×112, 0 in the hole. target: N×D, the teacher's embedding.
    """

    picture: Tensor
    mask: Tensor
    known: Tensor
    target: Tensor


def prepare_held_out(
    folder: Path, rows: Sequence[FaceRow], targets: NDArray[np.float32], *, seed: int = 1
) -> HeldOutFaces:
    """Read the pictures and draw their holes."""
    faces, masks = read_held_out(folder, rows)
    rng = np.random.default_rng(seed)
    holes = np.stack([hole_of_kind(KINDS[i % len(KINDS)], rng) for i in range(len(faces))])
    return HeldOutFaces(
        picture=to_tensor(faces),
        mask=torch.from_numpy(masks)[:, None].float(),
        known=1.0 - torch.from_numpy(holes)[:, None].float(),
        target=torch.from_numpy(targets),
    )


@torch.no_grad()
def validate(
    generator: FaceGenerator, teacher: Judge | None, held: HeldOutFaces
) -> tuple[dict[str, float], list[list[NDArray[np.uint8]]]]:
    """Figures and rows of pictures; leaves the generator in evaluation mode.

    Returns:
        ``mse`` (−1..1) and ``psnr`` (dB, 0..255) of whole pictures, ``hole_psnr`` inside of the
        holes, ``cosine`` of the reconstructions to the teacher's embeddings, ``kl`` (nats a
        dimension of the appearance); and the rows of a grid: pictures, reconstructions, pictures
        with holes, repairs, and the same identities with the next one's appearance.
    """
    generator.eval()
    device = next(generator.parameters()).device
    errors, hole_errors, cosines, kls = [], [], [], []
    rows: list[list[NDArray[np.uint8]]] = []
    for start in range(0, len(held.picture), 32):
        part = slice(start, start + 32)
        picture, known = held.picture[part].to(device), held.known[part].to(device)
        mask, target = held.mask[part].to(device), held.target[part].to(device)
        identity = direction(target)
        mu, logvar = generator.appearance(with_holes(picture, torch.ones_like(known)), identity)
        made = generator.decode(identity, mu).float()
        repaired = generator.decode(
            identity, generator.appearance(with_holes(picture, known), identity)[0]
        ).float()
        errors.append(_error(made, picture, mask))
        hole_errors.append(_error(repaired, picture, mask * (1 - known)))
        kls.append(kl_per_dimension(mu, logvar).mean(dim=1))
        if teacher is not None:
            shown = torch.where(mask > 0, made, picture)
            cosines.append(torch.nn.functional.cosine_similarity(teacher.embed(shown), target))
        if not rows:
            others = generator.decode(identity, mu.roll(-1, dims=0)).float()
            tiles = (picture, made, picture * known, torch.where(known > 0, picture, repaired))
            rows = [[*to_pictures(kind[:SHOWN])] for kind in (*tiles, others)]
    mse, hole = torch.cat(errors), torch.cat(hole_errors)
    figures = {
        "mse": float(mse.mean()),
        "psnr": float((10 * torch.log10(4.0 / mse)).mean()),
        "hole_psnr": float((10 * torch.log10(4.0 / hole[hole > 0])).mean()),
        "kl": float(torch.cat(kls).mean()),
    }
    if cosines:
        figures["cosine"] = float(torch.cat(cosines).mean())
    return figures, rows


def save_grid(path: Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    """The rows as one labelled picture."""
    names = ("picture", "reconstruction", "hole", "repair", "other appearance")
    save_synthetic(path, grid(rows, names=names))


def _error(made: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of each picture where the mask is 1; 0 where it is nowhere."""
    total = mask.flatten(1).sum(dim=1) * made.shape[1]
    return ((made - wanted).square() * mask).flatten(1).sum(dim=1) / total.clamp_min(1.0)
