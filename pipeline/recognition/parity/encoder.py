"""The gate of the encoder: embeddings and their doubt, on real aligned faces."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import checksum
from facestream.engines.parity import Verdict

from ..uncertainty import sigma
from .faces import gate_faces
from .figures import cosines, rank_correlation, verdict
from .reference import faces_digest, reference, run_encoder

# A cosine of 0.999 moves the similarity of two faces by 0.045 at the very most, and as a rule by
# far less than they differ from one picture to the next.
COSINE: Final = 0.999
RANK: Final = 0.99
_VERSION = 1


class EncoderGate:
    """Compares an encoder with itself in float32 on 64 faces, clear to poor.

    Figures: ``finite`` (share of numbers that are), ``cosine_min``, ``cosine_median`` and
    ``sigma_rank`` (Spearman's rho of sigma).

    Args:
        path: the encoder's ONNX network, with input N×3×112×112 and outputs mu and logvar.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def key(self) -> str:
        """See ``Gate``."""
        faces, network = faces_digest()[:16], checksum(self._path)[:16]
        return f"encoder-{_VERSION}-{faces}-{network}-{COSINE}-{RANK}"

    def judge(self, engine: Engine) -> Verdict:
        """See ``Gate``."""
        expected = reference(self._path)
        found = run_encoder(engine, gate_faces())
        if found.mu.shape != expected.mu.shape or found.logvar.shape != expected.logvar.shape:
            return Verdict({}, (f"mu is {found.mu.shape}, not {expected.mu.shape}",))
        finite = np.mean([np.isfinite(found.mu).mean(), np.isfinite(found.logvar).mean()])
        # A NaN or an infinity anywhere is refused as such; what it does to the rest is moot.
        with np.errstate(invalid="ignore", over="ignore"):
            similar = cosines(found.mu, expected.mu)
            doubt = sigma(found.logvar)
        figures = {
            "finite": float(finite),
            "cosine_min": float(similar.min()),
            "cosine_median": float(np.median(similar)),
            "sigma_rank": rank_correlation(doubt, sigma(expected.logvar)),
        }
        return verdict(figures, {"finite": 1.0, "cosine_min": COSINE, "sigma_rank": RANK})
