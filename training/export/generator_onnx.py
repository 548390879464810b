"""The generator as it ships: decoder, appearance encoder, and the prior of the codes.

Three files and two cards. The networks are folded (no batch norm is left), and their tensors keep
the names they have in torch, so that ``load_shipped`` can build them again: repair needs the
decoder's gradient, which no inference engine gives.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from facestream.engines.cards import ModelCard, TensorCard, read_card, verify
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from ..data.face_sets import sha256_of
from ..errors import CheckpointError, TrainingError
from ..models.appearance import FaceGenerator
from ..models.backbones import INPUT_SIZE
from ..models.prior import LatentPrior
from .card import EXCLUDED, TRAINING_DATA, today, write_card
from .graph import halve, to_onnx

DECODER: Final = "vae_decoder"
APPEARANCE: Final = "vae_appearance"
PRIOR: Final = "vae_prior.npy"
# Of pictures on −1..1: float16 weights move a pixel by less than half a grey level.
MAX_ERROR: Final = 0.01
LICENCE: Final = "Weights: non-commercial research only (terms of the training data)"
MISUSE: Final = (
    "Made and repaired faces are marked as synthetic and are refused by facestream's galleries and "
    "matching. A repair is a guess at what is hidden, never evidence of it."
)


def fold(generator: FaceGenerator) -> FaceGenerator:
    """A copy for inference: every batch norm inside the layer before it."""
    generator = copy.deepcopy(generator).eval().float().cpu().requires_grad_(False)
    decoder = generator.decoder
    first = decoder.layers[0]
    if isinstance(first, nn.BatchNorm2d) and first.running_mean is not None:
        if first.running_var is None:
            raise TrainingError("the decoder's batch norm has no running statistics")
        scale = first.weight / torch.sqrt(first.running_var + first.eps)
        shift = first.bias - first.running_mean * scale
        area = decoder.dense.out_features // len(scale)
        decoder.dense.weight.mul_(scale.repeat_interleave(area)[:, None])
        decoder.dense.bias.mul_(scale.repeat_interleave(area)).add_(shift.repeat_interleave(area))
        decoder.layers[0] = nn.Identity()
    for layers in (decoder.layers, generator.appearance.layers):
        for i, (conv, norm) in enumerate(pairwise(list(layers))):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return generator


def export_generator(
    generator: FaceGenerator, prior: LatentPrior, folder: Path, *, metrics: Mapping[str, Any]
) -> float:
    """Write ``vae_decoder``, ``vae_appearance`` (ONNX and card) and ``vae_prior.npy``.

    Args:
        generator: as trained.
        prior: of its codes.
        folder: where they go; made if it is missing.
        metrics: for the decoder's card.

    Returns:
        The largest difference of a made pixel, −1..1, to torch's.

    Raises:
        TrainingError: an exported network does not agree with torch; no file is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folded = fold(generator)
    z = torch.from_numpy(np.concatenate(prior.sample(4, np.random.default_rng(0)), axis=1))
    picture = torch.cat([generator.decoder(z), torch.ones(4, 1, INPUT_SIZE, INPUT_SIZE)], dim=1)
    identity = z[:, : generator.identity_dim]
    error = max(
        _write(folded.decoder, (z,), folder / f"{DECODER}.onnx", ("z",), ("faces",)),
        _write(
            folded.appearance,
            (picture.detach(), identity),
            folder / f"{APPEARANCE}.onnx",
            ("picture", "identity"),
            ("mu", "logvar"),
        ),
    )
    prior.save(folder / PRIOR)
    metrics = {**metrics, "parity_error": round(error, 5)}
    for card in (_decoder_card(generator, folder, metrics), _appearance_card(generator, folder)):
        write_card(card, folder / f"{card.name}.json")
    return error


def load_shipped(card: Path) -> tuple[FaceGenerator, LatentPrior]:
    """The generator that ships beside a decoder's card, for torch, and its prior.

    Raises:
        ModelError: a card or network is missing or damaged.
        CheckpointError: the networks are not a generator of ours.
        DataError: the prior is missing or damaged.
    """
    folder = card.parent
    decoder = read_card(card)
    appearance = read_card(folder / f"{APPEARANCE}.json")
    layout = decoder.preprocessing.get("layout", {})
    try:
        sizes = (int(layout["identity"]), int(layout["appearance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{card} does not say how its code is laid out ({error})") from error
    generator = fold(FaceGenerator(identity=sizes[0], appearance=sizes[1]))
    _fill(generator.decoder, verify(decoder, folder))
    _fill(generator.appearance, verify(appearance, folder))
    return generator, LatentPrior.load(folder / PRIOR, identity=sizes[0])


def _write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> float:
    """Write one network and compare it with torch; returns the largest difference."""
    model = to_onnx(module, example, inputs=inputs, outputs=outputs)
    halve(model)
    onnx.checker.check_model(model)
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(model.SerializeToString())
    with torch.no_grad():
        wanted = module(*example)
    reference = wanted[0] if isinstance(wanted, tuple) else wanted
    feeds = {name: value.numpy() for name, value in zip(inputs, example, strict=True)}
    with load_engine(partial, options=EngineOptions(precision="float32")) as engine:
        made = engine.infer(feeds)[outputs[0]]
    error = float(np.abs(made - reference.numpy()).max())
    if not error <= MAX_ERROR * max(1.0, float(reference.abs().max())):
        partial.unlink()
        raise TrainingError(
            f"the exported {path.stem} differs from torch's by {error:.4f}, at most {MAX_ERROR} "
            "is allowed; nothing was written"
        )
    partial.replace(path)
    return error


def _fill(module: nn.Module, path: Path) -> None:
    """A folded network's weights from the tensors of its ONNX file."""
    tensors = {
        t.name.removesuffix("_half"): numpy_helper.to_array(t)
        for t in onnx.load(path).graph.initializer
    }
    for name, parameter in module.named_parameters():
        array = tensors.get(name)
        if array is None or array.size != parameter.numel():
            raise CheckpointError(f"{path} is no generator of this version: it lacks {name}")
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(array.astype(np.float32)).reshape(parameter.shape))


def _decoder_card(generator: FaceGenerator, folder: Path, metrics: Mapping[str, Any]) -> ModelCard:
    length = generator.identity_dim + generator.appearance.dim
    return _card(
        folder / f"{DECODER}.onnx",
        task="face generation",
        description=(
            "Decoder of a variational autoencoder: a code of identity and appearance to an aligned "
            f"face. {MISUSE}"
        ),
        inputs=(TensorCard(name="z", shape=(None, length), layout="NC"),),
        outputs=(TensorCard(name="faces", shape=(None, 3, INPUT_SIZE, INPUT_SIZE), layout="NCHW"),),
        preprocessing={
            "layout": {"identity": generator.identity_dim, "appearance": generator.appearance.dim},
            "identity": "mu of vae_encoder scaled to length sqrt(D); its deviation is that of mu",
            "appearance": "mu of vae_appearance, or drawn from the prior",
            "prior": PRIOR,
            "prior_sha256": sha256_of(folder / PRIOR),
            "range": "-1..1, RGB",
        },
        metrics=metrics,
    )


def _appearance_card(generator: FaceGenerator, folder: Path) -> ModelCard:
    dims = (generator.identity_dim, generator.appearance.dim)
    return _card(
        folder / f"{APPEARANCE}.onnx",
        task="face appearance",
        description=(
            "Encoder of the generator: the appearance of an aligned face, perhaps with a hole "
            "(pose, light, expression, background)."
        ),
        inputs=(
            TensorCard(name="picture", shape=(None, 4, INPUT_SIZE, INPUT_SIZE), layout="NCHW"),
            TensorCard(name="identity", shape=(None, dims[0]), layout="NC"),
        ),
        outputs=(
            TensorCard(name="mu", shape=(None, dims[1]), layout="NC"),
            TensorCard(name="logvar", shape=(None, dims[1]), layout="NC"),
        ),
        preprocessing={
            "picture": "RGB in -1..1, 0 where a pixel is missing; fourth channel 1 where known",
            "identity": "mu of vae_encoder scaled to length sqrt(D)",
        },
        metrics={},
    )


def _card(path: Path, **fields: Any) -> ModelCard:
    digest = sha256_of(path)
    return ModelCard(
        name=path.stem,
        id=f"{path.stem.replace('_', '-')}-{digest[:8]}",
        file=path.name,
        sha256=digest,
        source="facestream.training; losses look through SFace (OpenCV Zoo, Apache-2.0)",
        licence=LICENCE,
        training_data=TRAINING_DATA,
        excluded=EXCLUDED,
        created=today(),
        **fields,
    )
