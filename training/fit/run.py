"""``fit``: from settings to a trained encoder, with the run's record beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from ..data.face_sets import make_manifest, write_manifest
from ..data.readable import write_unusable
from ..models.sface import load_sface
from ..models.vae import make_vae
from ..progress import ReportProgress, silent
from ..record import git_revision, write_json
from .checkpoint import load_checkpoint, restore_encoder
from .config import FitConfig
from .identity_task import IdentityTask
from .loop import RunSchedule, Task, run_task
from .prepared import TrainingData, prepare


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run that is about to train: its processes, data and, where it is resumed, checkpoint.

    Attributes:
        config: what the data was prepared by.
        out: folder of the run.
        fabric: launched.
        data: the same in every process.
        resumed: a checkpoint's content and where it was read from.
        progress: see ``ReportProgress``.
    """

    config: FitConfig
    out: Path
    fabric: Fabric
    data: TrainingData
    resumed: tuple[dict[str, Any], Path] | None
    progress: ReportProgress

    def train(self, task: Task, *, config_json: str) -> dict[str, float]:
        """Run a task to its end; the last validation's figures, nothing in other processes."""
        config = self.config
        plan = RunSchedule(
            steps=config.steps,
            batch=config.batch,
            log_every=config.log_every,
            save_every=config.save_every,
            validate_every=config.validate_every,
        )
        figures = run_task(
            task,
            plan,
            self.out,
            config_json=config_json,
            fabric=self.fabric,
            resume=self.resumed,
            progress=self.progress,
        )
        return figures if self.fabric.is_global_zero else {}


def open_run(config: FitConfig, out: Path, *, resume: Path | None, progress: ReportProgress) -> Run:
    """Start the processes, prepare the data and write the run's record.

    The record is ``config.json``, ``manifest.json`` (data with checksums), ``run.json`` (git
    revision, versions), and ``skipped.csv`` where pictures could not be used.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` is missing or damaged.
    """
    fabric = start_fabric(config)
    resumed = None if resume is None else (load_checkpoint(resume), resume)
    # One process checks the pictures and computes the teacher's targets, the others read them.
    with fabric.rank_zero_first():
        data = prepare(config, progress)
    if fabric.is_global_zero:
        write_json(out / "config.json", config.model_dump(mode="json"))
        rows = [*data.train, *data.held]
        write_manifest(out / "manifest.json", make_manifest(config.data, rows))
        versions = {"git": git_revision(), "torch": torch.__version__, "seed": config.seed}
        write_json(out / "run.json", versions)
        write_unusable(out / "skipped.csv", data.unusable)
    return Run(config, out, fabric, data, resumed, progress)


def fit(
    config: FitConfig, out: Path, *, resume: Path | None = None, progress: ReportProgress = silent
) -> dict[str, float]:
    """Train an encoder.

    Writes to ``out``: ``last.pt`` and ``best.pt`` (by validation), ``curve.csv``,
    ``validation.csv`` and what ``open_run`` writes.

    Args:
        resume: a checkpoint to continue from; the curve goes on as if it had never stopped.

    Returns:
        The last validation's figures; nothing in processes other than the first.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` is damaged or of another architecture.
        CollapseError: the loss is no number or the latent code died; the last checkpoint stays.
    """
    run = open_run(config, out, resume=resume, progress=progress)
    model = make_vae(config.backbone, dim=config.dim)
    if config.start == "sface":
        load_sface(model.encoder, config.teacher)
    elif config.start == "checkpoint" and config.init is not None:
        restore_encoder(model.encoder, load_checkpoint(config.init), config.init)
    if run.resumed is not None:
        # The frozen front is built from these weights before the task restores the rest.
        restore_encoder(model.encoder, *run.resumed)
    task = IdentityTask(config, run.data, model, fabric=run.fabric)
    if run.resumed is None and config.start != "checkpoint":
        task.calibrate()
    return run.train(task, config_json=config.model_dump_json())


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
