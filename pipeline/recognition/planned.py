"""The networks that plans are built for, as the pipeline loads them."""

from __future__ import annotations

from dataclasses import replace

from facestream.engines.base import Precision
from facestream.engines.cards import model_path
from facestream.engines.options import EngineOptions
from facestream.engines.tensorrt.inventory import PlanRequest

from ..detection.mtcnn.shapes import SHAPES
from .encoder import DEFAULT_MODEL, encoder_options

CROP = 112


def planned(*, max_batch: int = 32, precision: Precision = "auto") -> tuple[PlanRequest, ...]:
    """The detector's three networks, the encoder and the decoder.

    Args:
        max_batch: most faces the encoder is fed at once.
        precision: of the encoder and the decoder; the detector's networks are float32, as which
            of several nearly equal boxes it returns hangs on the last digits of their scores.

    Raises:
        ModelError: a network is missing or damaged.
    """
    options = {
        **{name: EngineOptions(precision="float32", shapes=SHAPES[name]) for name in SHAPES},
        DEFAULT_MODEL: replace(encoder_options(CROP, max_batch), precision=precision),
        "vae_decoder": EngineOptions(precision=precision),
    }
    return tuple(PlanRequest(name, model_path(name), one) for name, one in options.items())
