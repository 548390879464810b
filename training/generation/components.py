"""The linear start of a generator: what identity explains of a picture, and principal components.

The best linear generator has a closed form: least squares from the identity to the picture, and
the principal components of what is left as the appearance. It is computed in seconds and makes
recognisable, blurred faces; training starts from there and not from noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]

from ..data.face_sets import STREAKED_SETS
from ..fit.prepared import TrainingData
from ..losses.identity import direction
from ..models.appearance import FaceGenerator
from ..models.decoder import LINEAR_SIZE
from .generator_config import GeneratorConfig
from .generator_views import read_held_out

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """A linear generator: picture = mean + identity·explained + code·scaled, P values a picture.

    Attributes:
        mean: P. explained: D×P. scaled: A×P, each component times its deviation.
        inverse: P×A, from what identity leaves to the code, which has variance 1.
        share: A, variance of a component, averaged over the P values.
    """

    mean: Floats
    explained: Floats
    scaled: Floats
    inverse: Floats
    share: Floats


def principal_components(
    pictures: Floats, identity: Floats, *, count: int, seed: int
) -> Components:
    """Fit the linear generator.

    Args:
        pictures: N×P. identity: N×D.
        count: A, at most N and P.
    """
    mean = pictures.mean(axis=0)
    centred = pictures - mean
    # A little ridge: with few pictures the identity must not explain each of them by heart.
    gram = identity.T @ identity + 0.01 * len(identity) * np.eye(identity.shape[1])
    explained = np.linalg.solve(gram, identity.T @ centred).astype(np.float32)
    rest = centred - identity @ explained
    _, lengths, axes = randomized_svd(rest, count, n_iter=2, random_state=seed)
    spread = np.maximum(lengths / np.sqrt(len(rest)), 1e-4)
    return Components(
        mean=mean,
        explained=explained,
        scaled=(axes * spread[:, None]).astype(np.float32),
        inverse=(axes / spread[:, None]).T.astype(np.float32),
        share=(spread**2 / pictures.shape[1]).astype(np.float32),
    )


def start_linear(generator: FaceGenerator, config: GeneratorConfig, data: TrainingData) -> None:
    """Set the linear parts to the components of training pictures, the rest near to nothing."""
    whole = [i for i, row in enumerate(data.train) if row.dataset not in STREAKED_SETS]
    whole = whole or list(range(len(data.train)))
    rng = np.random.default_rng(config.seed)
    chosen = sorted(rng.permutation(whole)[: config.components].tolist())
    faces, _ = read_held_out(config.data, [data.train[i] for i in chosen])
    small = np.stack(
        [
            cv2.resize(face, (LINEAR_SIZE, LINEAR_SIZE), interpolation=cv2.INTER_AREA)
            for face in faces
        ]
    )
    flat = small.transpose(0, 3, 1, 2).reshape(len(small), -1).astype(np.float32) / 127.5 - 1
    identity = direction(torch.from_numpy(data.train_targets[chosen])).numpy()
    count = min(config.appearance, len(chosen) - 1)
    found = principal_components(flat, identity, count=count, seed=config.seed)
    _set(generator, found, kl=config.weights.kl / config.appearance)


@torch.no_grad()
def _set(generator: FaceGenerator, found: Components, *, kl: float) -> None:
    encoder, decoder = generator.appearance, generator.decoder
    if decoder.linear is None:
        raise ValueError("the generator's decoder has no linear part")
    count, wanted = len(found.scaled), encoder.dim
    to_picture = torch.zeros_like(decoder.linear.weight)
    to_picture[:, : generator.identity_dim] = torch.from_numpy(found.explained).T
    start = generator.identity_dim
    to_picture[:, start : start + count] = torch.from_numpy(found.scaled).T
    decoder.linear.weight.copy_(to_picture)
    decoder.linear.bias.copy_(torch.from_numpy(found.mean))
    to_code = np.concatenate([found.inverse, -found.explained @ found.inverse])
    encoder.linear.weight.zero_()
    encoder.linear.weight[:count].copy_(torch.from_numpy(to_code).T)
    encoder.dense.weight.mul_(0.1)
    encoder.dense.bias.zero_()
    encoder.dense.bias[:count].copy_(torch.from_numpy(-found.mean @ found.inverse))
    # The variance at which a component's error and its KL are in balance.
    share = np.full(wanted, 1e-9, np.float32)
    share[:count] = found.share
    balance = np.log((kl / 2) / (share + kl / 2))
    encoder.dense.bias[wanted:].copy_(torch.from_numpy(balance.astype(np.float32)))
    last = decoder.layers[-2]
    if isinstance(last, torch.nn.Conv2d) and last.bias is not None:
        last.weight.mul_(0.05)
        last.bias.zero_()
