"""What is measured of a trained contender."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Image
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..data.teacher import embed_both, teacher_net
from ..evaluation.embeddings import embed_all
from ..evaluation.lfw import open_lfw
from ..evaluation.verification import Verification, verify
from ..export.card import make_card, write_card
from ..export.encoder_onnx import export_encoder
from ..generation.metrics import frechet_distance, identity_cosine, psnr, ssim
from ..generation.synthetic_pictures import to_pictures
from ..models.decoder import Decoder
from ..models.vae import LATENT_DIM, VaeEncoder
from ..progress import ReportProgress

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]
# N×112×112×3 RGB uint8 to N×128.
Embed = Callable[[Pictures], Floats]
_PART: Final = 64


def teacher_embedding(path: Path, *, threads: int) -> Embed:
    """The teacher's embedding, averaged with that of the mirror image (as the targets are)."""
    teacher = teacher_net(path, threads=threads)

    return lambda pictures: np.asarray(embed_both(teacher, pictures).mean(axis=1))


@torch.no_grad()
def draw_samples(decoder: Decoder, count: int, *, seed: int) -> Pictures:
    """Faces from codes of the prior, count×112×112×3."""
    device = next(decoder.parameters()).device
    codes = torch.randn(count, decoder.dim, generator=torch.Generator().manual_seed(seed))
    return np.concatenate(
        [
            to_pictures(decoder(part.to(device)).float())
            for part in torch.tensor_split(codes, max(1, count // _PART))
        ]
    )


@torch.no_grad()
def reconstruct(encoder: VaeEncoder, decoder: Decoder, pictures: Pictures) -> Pictures:
    """What the decoder makes of each picture's mu."""
    device = next(decoder.parameters()).device
    parts = []
    for start in range(0, len(pictures), _PART):
        faces = torch.from_numpy(pictures[start : start + _PART].transpose(0, 3, 1, 2).copy())
        mu, _ = encoder(faces.to(device).float())
        parts.append(to_pictures(decoder(mu).float()))
    return np.concatenate(parts)


def measure_reconstruction(real: Pictures, made: Pictures, embed: Embed) -> dict[str, float]:
    """``psnr`` (dB), ``ssim`` and ``cosine`` of the teacher's embeddings: means over pictures."""
    pairs = [*zip(real, made, strict=True)]
    cosine = identity_cosine(embed(real), embed(made))
    return {
        "psnr": float(np.mean([psnr(x, y) for x, y in pairs])),
        "ssim": float(np.mean([ssim(x, y) for x, y in pairs])),
        "cosine": float(cosine.mean()),
    }


def measure_samples(samples: Pictures, reference: Floats, embed: Embed) -> float:
    """Fréchet distance of the samples' embeddings to those of real faces (M×128)."""
    return float(frechet_distance(embed(samples), reference))


def write_encoder(encoder: VaeEncoder, folder: Path, *, backbone: str) -> Path:
    """The encoder as ONNX with its card in the folder.

    Returns:
        The card's path.

    Raises:
        TrainingError: the exported network does not agree with torch.
    """
    file = folder / "encoder.onnx"
    cosine = export_encoder(encoder, file)
    card = make_card(
        file, backbone=backbone, dim=encoder.dim, metrics={"parity_cosine": round(cosine, 6)}
    )
    write_card(card, folder / "encoder.json")
    return folder / "encoder.json"


def measure_lfw(
    card: Path, lfw: Path, *, cache: Path, threads: int, progress: ReportProgress
) -> Verification:
    """LFW's 10 folds with the embedding half of mu."""
    data = open_lfw(lfw, cache=cache, threads=threads, progress=progress)
    with Encoder(model=card, serving=Serving(threads=threads)) as encoder:
        mu, _ = embed_all(encoder, data.crops.faces, progress=progress)
    return verify(data.pairs, mu[:, :LATENT_DIM], not_found=data.crops.not_found)


def measure_speed(
    cards: Mapping[str, Path], *, threads: int, batch: int = 8, rounds: int = 15
) -> dict[str, float]:
    """Faces/s of each encoder in one run: the median of rounds that take turns."""
    crops: Image = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), np.uint8)
    serving = Serving(threads=threads)
    encoders = {name: Encoder(model=card, serving=serving) for name, card in cards.items()}
    times: dict[str, list[float]] = {name: [] for name in cards}
    try:
        for encoder in encoders.values():
            encoder.embed(crops)
        for _ in range(rounds):
            for name, encoder in encoders.items():
                started = time.perf_counter()
                encoder.embed(crops)
                times[name].append(time.perf_counter() - started)
    finally:
        for encoder in encoders.values():
            encoder.close()
    return {name: batch / float(np.median(seconds)) for name, seconds in times.items()}
