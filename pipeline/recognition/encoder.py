"""The variational encoder: aligned faces in, embeddings and their uncertainty out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.cards import MODELS, ModelCard, load_card, read_card, verify
from facestream.engines.closing import Closing
from facestream.engines.errors import ModelError
from facestream.engines.options import EngineOptions, ImageInput, Serving, ShapeRange
from facestream.engines.serving import serve

from ..core.types import Floats, Image
from .parity import EncoderGate

DEFAULT_MODEL = "vae_encoder"

# Batches are of these sizes: the first of each shape costs 10 to 80 ms.
_BATCHES = (256, 128, 64, 32, 16, 8, 4, 2, 1)


class Encoder(Closing):
    """The recogniser. May be used from several threads.

    Args:
        serving: backend, device and precision.
        max_batch: most faces in one run of the network, 1 to 256.
        model: name of a shipped network, or path of a model card (``.json``) with its network in
            the same folder; None takes the shipped encoder.

    Raises:
        ValueError: ``max_batch`` is out of its range.
        BackendUnavailable: the backend cannot serve here.
        ParityRefused: the precision or backend asked for differs too much from float32.
        ModelError: the network is missing, damaged or not an encoder.
    """

    def __init__(
        self, *, serving: Serving = Serving(), max_batch: int = 32, model: str | Path | None = None
    ) -> None:
        if not 1 <= max_batch <= _BATCHES[0]:
            raise ValueError(f"max_batch must be from 1 to {_BATCHES[0]}, not {max_batch}")
        self.card, path = _find(model)
        self._max_batch = max_batch
        self._size, self._input = _input_of(self.card)
        options = encoder_options(self._size, max_batch)
        self._engine = serve(path, serving=serving, options=options, gate=EncoderGate(path))

    @property
    def model_id(self) -> str:
        """Stored with every embedding; embeddings of different ids do not compare."""
        return self.card.id

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        dim = self.card.outputs[0].shape[-1]
        if dim is None:
            raise ValueError(f"the card of {self.card.name} does not say how long mu is")
        return dim

    @property
    def backend(self) -> str:
        return self._engine.backend

    @property
    def engines(self) -> dict[str, Engine]:
        """The engine by the network's name; its description may change while it runs."""
        return {self.card.name: self._engine}

    @property
    def precision(self) -> str:
        return self._engine.precision

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        """Embed aligned faces.

        Args:
            crops: N×112×112×3 BGR uint8, as ``align_faces`` gives them; N may be 0.

        Returns:
            mu N×D (not normalised) and logvar N×D.

        Raises:
            ValueError: another shape or dtype.
            InferenceError: the network failed.
        """
        size = self._size
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (size, size, 3):
            raise ValueError(
                f"crops must be N×{size}×{size}×3 uint8, not {crops.shape} {crops.dtype}"
            )
        mu = np.empty((len(crops), self.dim), np.float32)
        logvar = np.empty_like(mu)
        start = 0
        while start < len(crops):
            # Not padded: 5 faces as 4 and 1 take 22 ms, as a batch of 8 they take 33 (2 cores).
            # On a GPU one padded run costs less, and its engines pad by themselves.
            room = min(self._max_batch, len(crops) - start)
            if "cuda" not in self._engine.device:
                room = next(size for size in _BATCHES if size <= room)
            rows = slice(start, start + room)
            outputs = self._engine.infer({self._input: crops[rows]})
            mu[rows], logvar[rows] = outputs["mu"], outputs["logvar"]
            start = rows.stop
        return mu, logvar

    def close(self) -> None:
        """Free the network."""
        self._engine.close()


def encoder_options(size: int, max_batch: int) -> EngineOptions:
    """Options of an encoder for up to ``max_batch`` crops of ``size``×``size`` at once."""
    shape = (3, size, size)
    return EngineOptions(
        image_input=ImageInput(channels="BGR", network_channels="RGB"),
        shapes=ShapeRange(
            (1, *shape),
            (min(8, max_batch), *shape),
            (max_batch, *shape),
            tuple(batch for batch in reversed(_BATCHES) if batch <= max_batch),
        ),
    )


def _find(model: str | Path | None) -> tuple[ModelCard, Path]:
    if isinstance(model, Path) or (model is not None and model.endswith(".json")):
        path = Path(model)
        card = read_card(path)
        return card, verify(card, path.parent)
    card = load_card(model or DEFAULT_MODEL)
    return card, verify(card, MODELS)


def _input_of(card: ModelCard) -> tuple[int, str]:
    """Side of the crops and name of the input. Raises ModelError if the card is not of an
    encoder."""
    names = [output.name for output in card.outputs]
    shape = card.inputs[0].shape if card.inputs else ()
    if names[:2] != ["mu", "logvar"] or len(shape) != 4 or shape[2] is None:
        raise ModelError(
            f"{card.name} is not an encoder: it needs an input N×3×S×S and outputs mu and logvar"
        )
    return shape[2], card.inputs[0].name
