"""The encoder's model card: written beside the ONNX file with its checksum, terms and figures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from facestream.engines.cards import ModelCard, TensorCard, Thresholds
from facestream.engines.files import write_atomically

from ..data.face_sets import sha256_of
from ..models.backbones import INPUT_SIZE

TRAINING_DATA: Final = (
    {
        "name": "CelebA (celeba_labelled, celeba_labelled_b, celeba_wild, celeba_small)",
        "terms": "non-commercial research",
    },
    {"name": "SCUT-FBP5500", "terms": "research"},
    {"name": "UTKFace", "terms": "non-commercial research"},
    {
        "name": "SFace (teacher and start of the weights; OpenCV Zoo, 2021-12)",
        "terms": "Apache-2.0; its own training pictures are not ours to state",
    },
)
EXCLUDED: Final = (
    "No picture and no person of LFW: identities with an SFace cosine of 0.45 or more (mean) and "
    "single pictures of 0.50 or more to a person of an evaluation set were dropped beforehand."
)


def today() -> str:
    """The date on a card, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def make_card(
    file: Path,
    *,
    backbone: str,
    dim: int,
    metrics: Mapping[str, Any],
    thresholds: Thresholds | None = None,
) -> ModelCard:
    """The card of an exported encoder; its id contains the file's checksum."""
    digest = sha256_of(file)
    return ModelCard(
        name=file.stem,
        id=f"vae-{backbone}-{dim}-{digest[:8]}",
        file=file.name,
        sha256=digest,
        task="face embedding",
        description=(
            "Encoder of a variational autoencoder: mean (the embedding) and log variance (its "
            "uncertainty) of a face's latent code, from a face aligned to the 112×112 template."
        ),
        inputs=(TensorCard(name="faces", shape=(None, 3, INPUT_SIZE, INPUT_SIZE), layout="NCHW"),),
        outputs=(
            TensorCard(name="mu", shape=(None, dim), layout="NC"),
            TensorCard(name="logvar", shape=(None, dim), layout="NC"),
        ),
        preprocessing={
            "alignment": "five landmarks to the ArcFace 112×112 template, similarity transform",
            "colour_order": "RGB",
            "range": "0..255",
            "normalised_by": "the graph: (x - 127.5) / 128",
            "mu": "not normalised; L2-normalise it for cosine similarity",
            "logvar": "log of the variance of each dimension of mu",
        },
        source="facestream.training; weights start from SFace (OpenCV Zoo, Apache-2.0)",
        licence="Weights: non-commercial research only (terms of the training data)",
        training_data=TRAINING_DATA,
        excluded=EXCLUDED,
        metrics=dict(metrics),
        thresholds=thresholds,
        created=today(),
    )


def write_card(card: ModelCard, path: Path) -> None:
    """The card as JSON, in one step."""
    write_atomically(path, (card.model_dump_json(indent=2) + "\n").encode())
