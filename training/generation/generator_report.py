"""A generator measured on held-out people: reconstruction, repair, and samples as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.face_sets import STREAKED_SETS, FaceRow, read_folder, split_identities
from ..data.teacher import embed_both, teacher_net
from ..errors import DataError
from ..evaluation.protocol import Interval
from ..progress import ReportProgress, silent
from .holes import KINDS, hole_of_kind
from .metrics import frechet_distance, identity_cosine, interval, psnr, ssim
from .repair import RepairOptions, filled, repair
from .synthesis import Synthesis
from .synthetic_pictures import Picture

Floats = NDArray[np.float32]


@dataclass(slots=True)
class GeneratorReport:
    """What was measured.

    Attributes:
        model: what was measured. encoder: the recogniser's id.
        pictures: held-out pictures used.
        figures: by name, means over pictures, in the order of the table.
        frechet: name to Fréchet distance on the teacher's features, and ``pictures`` of each set.
    """

    model: str
    encoder: str
    pictures: int
    figures: dict[str, Interval] = field(default_factory=dict)
    frechet: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For a file or a card."""
        values = {
            name: [round(v, 4) for v in (one.value, one.low, one.high)]
            for name, one in self.figures.items()
        }
        return {
            "model": self.model,
            "encoder": self.encoder,
            "held_out_pictures": self.pictures,
            "figures_mean_and_95": values,
            "frechet": {name: round(value, 3) for name, value in self.frechet.items()},
        }


def held_out_faces(data: Path, count: int, *, percent: int = 4, seed: int = 0) -> list[FaceRow]:
    """Pictures of people that no generator was trained on, without streaks, drawn by the seed.

    Raises:
        DataError: there are none.
    """
    _, held = split_identities(read_folder(data), percent=percent, seed=seed)
    whole = [row for row in held if row.dataset not in STREAKED_SETS and row.face_px >= 80]
    if len(whole) < 2:
        raise DataError(f"no held-out pictures without streaks in {data}")
    order = np.random.default_rng(seed).permutation(len(whole))[:count]
    return [whole[i] for i in sorted(order.tolist())]


def measure_reconstruction(synthesis: Synthesis, faces: Picture) -> dict[str, Interval]:
    """PSNR, SSIM and identity cosine of reconstructions; the cosine by the shipped recogniser."""
    made = synthesis.reconstructions(faces)
    return {
        "reconstruction PSNR, dB": interval([psnr(a, b) for a, b in zip(faces, made, strict=True)]),
        "reconstruction SSIM": interval([ssim(a, b) for a, b in zip(faces, made, strict=True)]),
        "reconstruction identity cosine": interval(
            identity_cosine(_embed(synthesis, faces), _embed(synthesis, made))
        ),
    }


def measure_repair(
    synthesis: Synthesis,
    faces: Picture,
    *,
    options: RepairOptions,
    seed: int = 0,
    progress: ReportProgress = silent,
) -> dict[str, Interval]:
    """Repair of each kind of hole: inside of the hole, and who the face then is.

    The damaged picture is measured twice: with a black hole, and with the smooth fill that the
    repair starts from.
    """
    rng = np.random.default_rng(seed)
    original = _embed(synthesis, faces)
    figures: dict[str, Interval] = {}
    for number, kind in enumerate(KINDS):
        holes = np.stack([hole_of_kind(kind, rng) for _ in faces])
        parts = []
        for start in range(0, len(faces), 32):
            part = slice(start, start + 32)
            parts.append(repair(synthesis, faces[part], holes[part], options=options))
            progress("repair", number * len(faces) + start, len(KINDS) * len(faces))
        repaired = np.concatenate(parts)
        smooth = filled(faces, holes)
        black = np.where(holes[..., None], np.uint8(0), faces)
        triples = [*zip(faces, repaired, holes, strict=True)]
        plain = [*zip(faces, smooth, holes, strict=True)]
        figures |= {
            f"{kind}: PSNR in the hole, dB": interval([psnr(a, b, where=h) for a, b, h in triples]),
            f"{kind}: … smooth fill": interval([psnr(a, b, where=h) for a, b, h in plain]),
            f"{kind}: SSIM in the hole": interval([ssim(a, b, where=h) for a, b, h in triples]),
            f"{kind}: … of the smooth fill": interval([ssim(a, b, where=h) for a, b, h in plain]),
            f"{kind}: identity cosine, repaired": interval(
                identity_cosine(original, _embed(synthesis, repaired))
            ),
            f"{kind}: … damaged, smooth fill": interval(
                identity_cosine(original, _embed(synthesis, smooth))
            ),
            f"{kind}: … damaged, black": interval(
                identity_cosine(original, _embed(synthesis, black))
            ),
        }
    return figures


def measure_samples(
    synthesis: Synthesis,
    real: Picture,
    other: Picture,
    *,
    teacher: Path,
    truncation: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Fréchet distance of samples to real faces, and of other real faces (the floor).

    Args:
        synthesis: the generator.
        real: N×112×112×3 RGB, the reference.
        other: M×112×112×3, real faces of other people; as many samples are drawn.
        truncation: of the samples.

    Raises:
        TrainingError: the teacher's file is missing.
    """
    infer = teacher_net(teacher, threads=2)
    made = synthesis.samples(len(other), seed=seed, truncation=truncation)
    remade = synthesis.reconstructions(other)
    features = embed_both(infer, np.concatenate([real, other, made, remade]))[:, 0]
    a, b = len(real), len(other)
    return {
        "real against other real (floor)": frechet_distance(features[:a], features[a : a + b]),
        "real against samples": frechet_distance(features[:a], features[a + b : a + 2 * b]),
        "real against reconstructions": frechet_distance(features[:a], features[a + 2 * b :]),
        "pictures": float(b),
    }


def _embed(synthesis: Synthesis, faces: Picture) -> Floats:
    return synthesis.encoder.embed(np.ascontiguousarray(faces[..., ::-1]))[0]
