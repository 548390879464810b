"""``fit-generator``: from settings to a trained generator, with the run's record beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.face_sets import STREAKED_SETS
from ..errors import CheckpointError, DataError
from ..fit.checkpoint import load_checkpoint, restore_module
from ..fit.prepared import prepare
from ..fit.run import open_run
from ..losses.identity import direction
from ..models.appearance import FaceGenerator, with_holes
from ..models.prior import LatentPrior
from ..progress import ReportProgress, silent
from ..record import write_json
from .components import start_linear
from .generator_config import GeneratorConfig
from .generator_task import GeneratorTask
from .generator_views import read_held_out
from .synthetic_pictures import to_tensor

KINDS = ("generator", "generator-gan")


def fit_generator(
    config: GeneratorConfig,
    out: Path,
    *,
    resume: Path | None = None,
    progress: ReportProgress = silent,
) -> dict[str, float]:
    """Train a generator; the folder holds what ``fit.run.fit`` writes, and grids of pictures.

    Args:
        resume: a checkpoint of this run to go on from.

    Returns:
        The last validation's figures; nothing in processes other than the first.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` or ``config.init`` is damaged or of another architecture.
        CollapseError: the loss is no number; the last checkpoint stays.
    """
    run = open_run(config.as_fit(), out, resume=resume, progress=progress)
    if run.fabric.is_global_zero:
        write_json(out / "config.json", config.model_dump(mode="json"))
    task = GeneratorTask(config, run.data, fabric=run.fabric, out=out)
    if run.resumed is None and config.init is not None:
        start_from(task, config.init)
    elif run.resumed is None and config.components > 0:
        start_linear(task.module.generator, config, run.data)
    return run.train(task, config_json=config.model_dump_json())


def start_from(task: GeneratorTask, path: Path) -> None:
    """Take the generator's weights (and the discriminator's, if both have one) of a checkpoint.

    Raises:
        CheckpointError: it holds no generator, or one of another architecture.
    """
    weights = _weights(path)
    for name, module in (
        ("generator", task.module.generator),
        ("discriminator", task.module.discriminator),
    ):
        part = _part(weights, name)
        if module is not None and (part or name == "generator"):
            restore_module(module, part, path)


def load_generator(path: Path) -> tuple[FaceGenerator, GeneratorConfig]:
    """The generator of a checkpoint, in evaluation mode, and its run's settings.

    Raises:
        CheckpointError: it is missing, damaged, or holds no generator.
    """
    weights = _weights(path)
    config = GeneratorConfig.model_validate_json(load_checkpoint(path)["config"])
    part = _part(weights, "generator")
    generator = FaceGenerator(
        identity=part["decoder.dense.weight"].shape[1] - config.appearance,
        appearance=config.appearance,
    )
    restore_module(generator, part, path)
    return generator.eval(), config


@torch.no_grad()
def measure_prior(checkpoint: Path, out: Path, *, count: int = 4000) -> LatentPrior:
    """Measure the codes of training pictures, and keep their Gaussian beside the checkpoint.

    Args:
        checkpoint: of a generator.
        count: pictures to measure, drawn by the run's seed.

    Raises:
        CheckpointError: as ``load_generator``.
        DataError: the run's training pictures are not there any more.
    """
    generator, config = load_generator(checkpoint)
    data = prepare(config.as_fit(), silent)
    # Streaks would come out in the samples.
    whole = [i for i, row in enumerate(data.train) if row.dataset not in STREAKED_SETS]
    order = np.random.default_rng(config.seed).permutation(whole or len(data.train))[:count]
    faces, _ = read_held_out(config.data, [data.train[i] for i in order])
    identity = direction(torch.from_numpy(data.train_targets[order]))
    mus, logvars = [], []
    for start in range(0, len(order), 64):
        part = slice(start, start + 64)
        pictures = to_tensor(faces[part])
        known = torch.ones(len(pictures), 1, *pictures.shape[2:])
        mu, logvar = generator.appearance(with_holes(pictures, known), identity[part])
        mus.append(mu.numpy())
        logvars.append(logvar.numpy())
    try:
        prior = LatentPrior.fit(identity.numpy(), np.concatenate(mus), np.concatenate(logvars))
    except ValueError as error:
        raise DataError(f"the codes have no Gaussian: {error}; train on more pictures") from error
    prior.save(out)
    return prior


def _weights(path: Path) -> dict[str, Tensor]:
    state = load_checkpoint(path)
    if not is_generator(state):
        raise CheckpointError(
            f"{path} holds no generator but a run of kind '{state.get('kind', 'identity')}'; "
            "give a checkpoint of facestream-train fit-generator"
        )
    weights: dict[str, Tensor] = state["model"]
    return weights


def is_generator(state: dict[str, Any]) -> bool:
    """Whether a checkpoint is of a generator's run."""
    return state.get("kind") in KINDS


def _part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
