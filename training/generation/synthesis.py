"""Makes faces: samples, variations of one identity, interpolations, reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from facestream.engines.cards import MODELS
from facestream.engines.closing import Closing
from facestream.engines.options import Serving
from facestream.pipeline.recognition.encoder import Encoder
from numpy.typing import NDArray

from ..export.generator_onnx import load_shipped
from ..losses.identity import direction
from ..models.appearance import FaceGenerator, with_holes
from ..models.prior import LatentPrior
from .fit_generator import load_generator
from .synthetic_pictures import Picture, to_pictures, to_tensor

Floats = NDArray[np.float32]
SHIPPED = MODELS / "vae_decoder.json"
# Faces that are decoded at once.
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """Codes of N faces.

    Attributes:
        identity: N×D, length √D. sigma: N×D, the recogniser's, on the same scale.
        appearance: N×A. logvar: N×A, of the appearance.
    """

    identity: Floats
    sigma: Floats
    appearance: Floats
    logvar: Floats


class Synthesis(Closing):
    """The generator with the recogniser whose identities it speaks.

    Args:
        model: card of a decoder (``.json``, the networks beside it) or a checkpoint (``.pt``),
            whose prior is then ``prior.npy`` beside it.
        encoder: card of the recogniser; None takes the one that ships.
        threads: CPU threads of the recogniser.

    Raises:
        ModelError: a network is missing or damaged.
        CheckpointError: the checkpoint is damaged or holds no generator.
        DataError: the prior is missing.
    """

    def __init__(
        self, *, model: Path = SHIPPED, encoder: Path | None = None, threads: int | None = None
    ) -> None:
        self.generator: FaceGenerator
        self.prior: LatentPrior
        if model.suffix == ".pt":
            self.generator, _ = load_generator(model)
            self.prior = LatentPrior.load(
                model.parent / "prior.npy", identity=self.generator.identity_dim
            )
        else:
            self.generator, self.prior = load_shipped(model)
        self.generator.eval().requires_grad_(False)
        self.encoder = Encoder(model=encoder, serving=Serving(threads=threads))

    def close(self) -> None:
        """Free the recogniser."""
        self.encoder.close()

    def encode(self, faces: Picture, *, holes: NDArray[np.bool_] | None = None) -> Code:
        """The codes of aligned faces.

        Args:
            faces: N×112×112×3 RGB uint8. What lies in a hole is seen by the recogniser: fill it
                with something plain first.
            holes: N×112×112, True where the appearance must not be read; none when not given.
        """
        mu, logvar = self.encoder.embed(np.ascontiguousarray(faces[..., ::-1]))
        identity = direction(torch.from_numpy(mu))
        pictures = to_tensor(faces)
        known = torch.ones(len(faces), 1, *faces.shape[1:3])
        if holes is not None:
            known = 1.0 - torch.from_numpy(holes)[:, None].float()
        parts = []
        with torch.no_grad():
            for start in range(0, len(faces), _BATCH):
                part = slice(start, start + _BATCH)
                parts.append(
                    self.generator.appearance(
                        with_holes(pictures[part], known[part]), identity[part]
                    )
                )
        appearance = torch.cat([p[0] for p in parts]).numpy()
        return Code(
            identity.numpy(),
            np.exp(logvar / 2),
            appearance,
            torch.cat([p[1] for p in parts]).numpy(),
        )

    def decode(self, identity: Floats, appearance: Floats) -> Picture:
        """N×112×112×3 RGB uint8 from N×D and N×A."""
        made = []
        with torch.no_grad():
            for start in range(0, len(identity), _BATCH):
                part = slice(start, start + _BATCH)
                faces = self.generator.decode(
                    torch.from_numpy(identity[part]), torch.from_numpy(appearance[part])
                )
                made.append(to_pictures(faces))
        return np.concatenate(made)

    def samples(self, count: int, *, seed: int, truncation: float = 1.0) -> Picture:
        """Faces of nobody, drawn from the prior."""
        rng = np.random.default_rng(seed)
        return self.decode(*self.prior.sample(count, rng, truncation=truncation))

    def variations(
        self, face: Picture, count: int, *, seed: int, truncation: float = 1.0
    ) -> Picture:
        """One face's identity with other appearances; the face is 112×112×3 RGB."""
        identity = self.encode(face[None]).identity[0]
        rng = np.random.default_rng(seed)
        appearances = self.prior.appearances(identity, count, rng, truncation=truncation)
        return self.decode(np.repeat(identity[None], count, axis=0), appearances)

    def interpolation(self, a: Picture, b: Picture, steps: int) -> Picture:
        """From one face to another: ``steps`` pictures, the reconstructions of both included."""
        code = self.encode(np.stack([a, b]))
        shares = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
        identity = between(code.identity[0], code.identity[1], shares)
        appearance = (1 - shares) * code.appearance[0] + shares * code.appearance[1]
        return self.decode(identity, appearance)

    def reconstructions(self, faces: Picture) -> Picture:
        """Faces N×112×112×3 after encoder and decoder."""
        code = self.encode(faces)
        return self.decode(code.identity, code.appearance)


def between(a: Floats, b: Floats, shares: Floats) -> Floats:
    """Along the great circle from identity a to b (both D, length √D), for S×1 shares: S×D."""
    size = float(np.sqrt(a.size))
    cosine = float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-4:
        mixed = (1 - shares) * a + shares * b
    else:
        mixed = (np.sin((1 - shares) * angle) * a + np.sin(shares * angle) * b) / np.sin(angle)
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.asarray(mixed / np.maximum(lengths, 1e-9) * size, np.float32)
