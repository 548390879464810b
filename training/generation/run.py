"""``fit-generator``: from settings to a trained generator, with the run's record beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.faces import STREAKED_SETS
from ..data.prepared import prepare
from ..errors import CheckpointError, DataError
from ..fit.checkpoint import load_checkpoint, restore_module, write_json
from ..fit.loop import Progress, run_task, silent
from ..fit.run import schedule_of, start_fabric, write_record
from ..losses.identity import direction
from ..models.appearance import FaceGenerator, with_holes
from .components import start_linear
from .config import GeneratorConfig
from .prior import LatentPrior
from .task import GeneratorTask
from .views import read_held_out

KINDS = ("generator", "generator-gan")


def fit_generator(
    config: GeneratorConfig, out: Path, *, resume: Path | None = None, progress: Progress = silent
) -> dict[str, float]:
    """Train a generator; the folder holds what ``fit.run.fit`` writes, and grids of pictures.

    Args:
        config: the settings.
        out: folder of the run.
        resume: a checkpoint of this run to go on from.
        progress: called with what is done, how far, how much there is, and the latest figures.

    Returns:
        The last validation's figures.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` or ``config.init`` is damaged or of another architecture.
        CollapseError: the loss is no number; the last checkpoint stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    common = config.as_fit()
    fabric = start_fabric(common)
    state = load_checkpoint(resume) if resume is not None else None
    data = prepare(common, progress)
    if fabric.is_global_zero:
        write_record(common, out, [*data.train, *data.held])
        write_json(out / "config.json", config.model_dump(mode="json"))
    task = GeneratorTask(config, data, fabric=fabric, out=out)
    if state is None and config.init is not None:
        start_from(task, config.init)
    elif state is None and config.components > 0:
        start_linear(task.module.generator, config, data)
    plan = schedule_of(common)
    return run_task(
        task,
        plan,
        out,
        config_json=config.model_dump_json(),
        fabric=fabric,
        resume=None if state is None or resume is None else (state, resume),
        progress=progress,
    )


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
        part = {
            k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")
        }
        if module is not None and (part or name == "generator"):
            restore_module(module, part, path)


def load_generator(path: Path) -> tuple[FaceGenerator, GeneratorConfig]:
    """The generator of a checkpoint, in evaluation mode, and its run's settings.

    Raises:
        CheckpointError: it is missing, damaged, or holds no generator.
    """
    weights = _weights(path)
    config = GeneratorConfig.model_validate_json(load_checkpoint(path)["config"])
    part = {
        k.removeprefix("generator."): v for k, v in weights.items() if k.startswith("generator.")
    }
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
        out: the ``.npy`` file.
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
        pictures = torch.from_numpy(np.ascontiguousarray(faces[part].transpose(0, 3, 1, 2)))
        known = torch.ones(len(pictures), 1, *pictures.shape[2:])
        mu, logvar = generator.appearance(
            with_holes(pictures.float() / 127.5 - 1.0, known), identity[part]
        )
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
    if state.get("kind") not in KINDS:
        raise CheckpointError(
            f"{path} holds no generator but a run of kind '{state.get('kind', 'identity')}'; "
            "give a checkpoint of facestream-train fit-generator"
        )
    weights: dict[str, Tensor] = state["model"]
    return weights
