"""Repair: fills a hole in a face to fit the rest, by search in the space of codes.

The start is what the repair-trained encoder reads from the known pixels; from there the code moves
so that the known pixels are met, held by how likely the code is (the prior) and by whom the
recogniser saw (its mu, as far as it was certain).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..progress import ReportProgress, silent
from .holes import Hole
from .synthesis import Code, Synthesis
from .synthetic_pictures import Picture, to_pictures, to_tensor


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """How the code is sought.

    Attributes:
        steps: of the search; 0 keeps the encoder's code.
        rate: size of a step.
        prior: weight of the code's likelihood against the known pixels' squared error (−1..1).
        identity: weight of the distance to whom the recogniser saw, in units of its sigma.
        feather: width of the seam, pixels.
    """

    steps: int = 60
    rate: float = 0.05
    prior: float = 0.003
    identity: float = 0.002
    feather: float = 2.0


def repair(
    synthesis: Synthesis,
    faces: Picture,
    holes: NDArray[np.bool_],
    *,
    options: RepairOptions | None = None,
    progress: ReportProgress = silent,
) -> Picture:
    """Faces with their holes filled; what is outside of the holes stays as it is.

    Args:
        synthesis: generator and recogniser.
        faces: N×112×112×3 RGB uint8. What is in the holes is not looked at.
        holes: N×112×112, True where a face is to be repaired.

    Raises:
        ValueError: shapes that do not fit, or a face with nothing known.
    """
    options = options or RepairOptions()
    if faces.ndim != 4 or holes.shape != faces.shape[:3]:
        raise ValueError(f"{holes.shape} are no holes of faces {faces.shape}")
    if holes.all(axis=(1, 2)).any():
        raise ValueError("nothing of the face is known: the hole must leave a part of it")
    code = synthesis.encode(filled(faces, holes), holes=holes)
    made = _search(synthesis, code, faces, holes, options, progress)
    return np.stack(
        [
            blend(face, new, hole, feather=options.feather)
            for face, new, hole in zip(faces, made, holes, strict=True)
        ]
    )


def filled(faces: Picture, holes: NDArray[np.bool_]) -> Picture:
    """Faces with a smooth fill in their holes: for the recogniser, which knows no holes."""
    return np.stack(
        [
            np.asarray(cv2.inpaint(face, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)
            for face, hole in zip(faces, holes, strict=True)
        ]
    )


def blend(face: Picture, made: Picture, hole: Hole, *, feather: float) -> Picture:
    """The made pixels in the hole, fading into the face over a few pixels inside of the hole.

    The made part is first shifted in colour by what it is off along the hole's edge.
    """
    ring = cv2.dilate(hole.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool) & ~hole
    values = made.astype(np.float32)
    if ring.any():
        values = values + (face[ring].astype(np.float32) - values[ring]).mean(axis=0)
    share = hole.astype(np.float32)
    if feather > 0:
        # Distance to the nearest known pixel: nothing outside of the hole is changed.
        share = np.minimum(
            np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)) / feather, 1.0
        )
    mixed = face * (1 - share[:, :, None]) + values * share[:, :, None]
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def _search(
    synthesis: Synthesis,
    code: Code,
    faces: Picture,
    holes: NDArray[np.bool_],
    options: RepairOptions,
    progress: ReportProgress,
) -> Picture:
    wanted = to_tensor(faces)
    known = 1.0 - torch.from_numpy(holes)[:, None].float()
    share = known.flatten(1).sum(dim=1) * 3
    width = code.identity.shape[1]
    seen, sigma = torch.from_numpy(code.identity), torch.from_numpy(code.sigma)
    start = np.concatenate([code.identity, code.appearance], axis=1)
    # As a standard normal: the search is then as wide in each direction as the prior is.
    mean, root, inverse = (torch.from_numpy(m) for m in synthesis.prior.whitening())
    white = ((torch.from_numpy(start) - mean) @ inverse).requires_grad_(True)
    optimizer = torch.optim.Adam([white], lr=options.rate)

    def decoded() -> tuple[torch.Tensor, torch.Tensor]:
        z = mean + white @ root
        return synthesis.generator.decode(z[:, :width], z[:, width:]), z[:, :width]

    for step in range(options.steps):
        optimizer.zero_grad()
        made, identity = decoded()
        error = ((made - wanted).square() * known).flatten(1).sum(dim=1) / share
        unlikely = white.square().mean(dim=1)
        other = ((identity - seen) / sigma).square().mean(dim=1)
        energy = error + options.prior * unlikely + options.identity * other
        torch.autograd.backward(energy.sum())
        optimizer.step()
        progress("repair", step + 1, options.steps)
    with torch.no_grad():
        return to_pictures(decoded()[0])
