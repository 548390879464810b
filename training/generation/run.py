"""``fit-generator``: from settings to a trained generator, with the run's record beside it."""

from __future__ import annotations

from pathlib import Path

from ..data.prepared import prepare
from ..errors import CheckpointError
from ..fit.checkpoint import load_checkpoint, restore_module, write_json
from ..fit.loop import Progress, RunSchedule, run_task, silent
from ..fit.run import start_fabric, write_record
from ..models.appearance import FaceGenerator
from .config import GeneratorConfig
from .task import GeneratorTask

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
    plan = RunSchedule(
        steps=config.steps,
        batch=config.batch,
        log_every=config.log_every,
        save_every=config.save_every,
        validate_every=config.validate_every,
    )
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


def _weights(path: Path) -> dict[str, object]:
    state = load_checkpoint(path)
    if state.get("kind") not in KINDS:
        raise CheckpointError(
            f"{path} holds no generator but a run of kind '{state.get('kind', 'identity')}'; "
            "give a checkpoint of facestream-train fit-generator"
        )
    weights: dict[str, object] = state["model"]
    return weights
