"""``fit``: from settings to a trained encoder, with the run's record beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning_fabric import Fabric

from ..data.faces import FaceRow, make_manifest, write_manifest
from ..data.prepared import prepare
from ..data.readable import write_unusable
from ..models.sface import load_sface
from ..models.vae import make_vae
from .checkpoint import (
    git_revision,
    load_checkpoint,
    restore_encoder,
    write_json,
)
from .config import FitConfig
from .identity import IdentityTask
from .loop import (
    Progress,
    RunSchedule,
    run_task,
    silent,
)


def fit(
    config: FitConfig, out: Path, *, resume: Path | None = None, progress: Progress = silent
) -> dict[str, float]:
    """Train an encoder.

    Writes to ``out``: ``last.pt`` and ``best.pt`` (by validation), ``config.json``,
    ``manifest.json``, ``run.json`` (git revision, versions), ``curve.csv``, ``validation.csv``,
    and ``skipped.csv`` where pictures could not be used.

    Args:
        config: the settings.
        out: folder of the run.
        resume: a checkpoint to go on from; the curve goes on as if it had never stopped.
        progress: called with what is done, how far, how much there is, and the latest figures.

    Returns:
        The last validation's figures; nothing in processes other than the first.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` is damaged or of another architecture.
        CollapseError: the loss is no number or the latent code died; the last checkpoint stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    fabric = start_fabric(config)
    state = load_checkpoint(resume) if resume is not None else None
    with fabric.rank_zero_first():  # one process computes the teacher's targets, all read them
        data = prepare(config, progress)
    model = make_vae(config.backbone, dim=config.dim)
    if config.start == "sface":
        load_sface(model.encoder, config.teacher)
    elif config.start == "checkpoint" and config.init is not None:
        restore_encoder(model.encoder, load_checkpoint(config.init), config.init)
    if state is not None and resume is not None:
        # The frozen front is built from these weights before the task restores the rest.
        restore_encoder(model.encoder, state, resume)
    if fabric.is_global_zero:
        write_record(config, out, [*data.train, *data.held])
        write_unusable(out / "skipped.csv", data.unusable)
    task = IdentityTask(config, data, model, fabric=fabric)
    if state is None and config.start != "checkpoint":
        task.calibrate()
    plan = schedule_of(config)
    figures = run_task(
        task,
        plan,
        out,
        config_json=config.model_dump_json(),
        fabric=fabric,
        resume=None if state is None or resume is None else (state, resume),
        progress=progress,
    )
    return figures if fabric.is_global_zero else {}


def schedule_of(config: FitConfig) -> RunSchedule:
    """How long the settings want a run to be, and how often it writes."""
    return RunSchedule(
        steps=config.steps,
        batch=config.batch,
        log_every=config.log_every,
        save_every=config.save_every,
        validate_every=config.validate_every,
    )


def start_fabric(config: FitConfig) -> Fabric:
    """The device, precision and processes of the settings; seeds torch."""
    torch.manual_seed(config.seed)
    fabric = Fabric(
        accelerator=config.accelerator, devices=config.devices, precision=config.precision
    )
    fabric.launch()
    if fabric.device.type == "cpu":
        torch.set_num_threads(config.threads)
    return fabric


def write_record(config: FitConfig, out: Path, rows: list[FaceRow]) -> None:
    """What a run was made from: settings, data with checksums, revision and versions."""
    write_json(out / "config.json", config.model_dump(mode="json"))
    write_manifest(out / "manifest.json", make_manifest(config.data, rows))
    record = {
        "git": git_revision(Path(__file__).parent),
        "torch": torch.__version__,
        "seed": config.seed,
    }
    write_json(out / "run.json", record)
