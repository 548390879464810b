"""The training loop: on a CPU, a GPU or several, resumable, with its record beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from ..data.faces import FaceRow, make_manifest, write_manifest
from ..data.prepared import Progress, prepare, target_floor
from ..data.views import Batch, Batches, Views
from ..errors import CheckpointError, TrainingError
from ..losses.identity import cosine_distance, direction, heteroscedastic_nll
from ..losses.latent import annealed, kl_loss
from ..losses.reconstruction import masked_mse
from ..models.sface import load_sface
from ..models.vae import Vae, make_vae, reparameterise
from .checkpoint import (
    Curve,
    git_revision,
    load_checkpoint,
    restore,
    save_checkpoint,
    write_json,
)
from .config import FitConfig
from .guards import check_alive, check_finite, latent_health
from .optimise import parameter_groups, restore_optimizer, schedule
from .trunk import TrunkFeatures, TrunkRun, frozen_trunk, torch_trunk
from .validate import HeldOut, prepare_held_out, validate

log = logging.getLogger(__name__)
LAST = "last.pt"
BEST = "best.pt"


def _silent(what: str, done: int, total: int, values: dict[str, float]) -> None:
    """The default progress: none."""


@dataclass(slots=True, eq=False)
class _Run:
    """What the loop works with."""

    config: FitConfig
    out: Path
    fabric: Fabric
    model: Vae
    optimizer: torch.optim.Optimizer
    trunk: TrunkRun
    held: HeldOut
    hold_out: Callable[[], HeldOut]
    floor: float
    best: float = float("inf")


def fit(
    config: FitConfig, out: Path, *, resume: Path | None = None, progress: Progress = _silent
) -> dict[str, float]:
    """Train a model.

    Writes to ``out``: ``last.pt`` and ``best.pt`` (by validation), ``config.json``,
    ``manifest.json``, ``run.json`` (git revision, versions), ``curve.csv``, ``validation.csv``.

    Args:
        config: the settings.
        out: folder of the run.
        resume: a checkpoint to go on from; the curve goes on as if it had never stopped.
        progress: called with what is done, how far, how much there is, and the latest figures.

    Returns:
        The last validation's figures.

    Raises:
        DataError: no usable data.
        CheckpointError: ``resume`` is damaged or of another architecture.
        CollapseError: the loss is no number or the latent code died; the last checkpoint stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    fabric = Fabric(
        accelerator=config.accelerator, devices=config.devices, precision=config.precision
    )
    fabric.launch()
    if fabric.device.type == "cpu":
        torch.set_num_threads(config.threads)
    state = load_checkpoint(resume) if resume is not None else None
    data = prepare(config, progress)
    model = make_vae(config.backbone, dim=config.dim)
    if state is None and config.start == "sface":
        load_sface(model.encoder, config.teacher)
    elif state is not None and resume is not None:
        restore(model, state, resume)

    if fabric.is_global_zero:
        _write_record(config, out, [*data.train, *data.held])
    model.to(fabric.device)
    backbone = model.encoder.backbone
    if config.trunk == "trained":
        trunk = torch_trunk(backbone)
    else:
        trunk = frozen_trunk(backbone, fabric.device, threads=config.threads)

    def hold_out() -> HeldOut:
        return prepare_held_out(config.data, data.held, data.held_targets, trunk)

    held = hold_out()
    if state is None:
        model.encoder.logvar_head.calibrate(_calibration(model, held))
    optimizer = torch.optim.AdamW(parameter_groups(model, config), weight_decay=config.weight_decay)
    first = 0
    run = _Run(
        config=config,
        out=out,
        fabric=fabric,
        model=model,
        optimizer=optimizer,
        trunk=trunk,
        held=held,
        hold_out=hold_out,
        floor=target_floor(data.train, data.train_targets),
    )
    if state is not None:
        restore_optimizer(optimizer, state)
        first = int(state["step"])
        run.best = float(state["best"])
    loader = DataLoader(
        Views(config.data, data.train, data.train_targets, seed=config.seed),
        batch_sampler=Batches(
            len(data.train),
            config.batch,
            seed=config.seed,
            first=first,
            steps=config.steps,
            shard=(fabric.global_rank, fabric.world_size),
        ),
        num_workers=config.workers,
    )
    return _loop(run, iter(loader), first, progress)


def _write_record(config: FitConfig, out: Path, rows: list[FaceRow]) -> None:
    write_json(out / "config.json", config.model_dump(mode="json"))
    write_manifest(out / "manifest.json", make_manifest(config.data, rows))
    record = {
        "git": git_revision(Path(__file__).parent),
        "torch": torch.__version__,
        "seed": config.seed,
    }
    write_json(out / "run.json", record)


def _losses(run: _Run, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
    """The weighted loss of a batch and the figures to log."""
    config, weights = run.config, run.config.weights
    device = run.fabric.device
    encoder = run.model.encoder
    faces = batch["faces"].to(device).float()
    if config.trunk == "trained":
        last, means = TrunkFeatures(encoder.backbone)(faces)
    else:
        last, means = run.trunk(faces)
    mu, logvar = encoder.heads(last, means)
    target, centre = batch["target"].to(device), batch["centre"].to(device)
    known = batch["has_centre"].to(device)

    distil = cosine_distance(mu, target)
    seen = direction(mu.detach())
    doubt = heteroscedastic_nll(seen, logvar, direction(target), floor=run.floor)
    if float(known.sum()) > 0:
        doubt = 0.5 * doubt + 0.5 * heteroscedastic_nll(
            seen, logvar, direction(centre), weight=known
        )
    kl = kl_loss(mu, logvar, free_bits=weights.free_bits)
    few = max(2, round(config.decode * len(mu)))
    noise = torch.randn(
        few, mu.shape[1], generator=torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    ).to(device)
    # Identity is the main thing: appearance may bend mu a little, not rule it.
    share = weights.reconstruction_to_mu
    code = share * mu[:few] + (1.0 - share) * mu[:few].detach()
    made = run.model.decoder(reparameterise(code, logvar[:few], noise))
    wanted = batch["clean"][:few].to(device).float() / 127.5 - 1.0
    reconstruction = masked_mse(made, wanted, batch["mask"][:few].to(device).float())
    kl_weight = annealed(weights.kl, step, weights.kl_warm_up)
    total = (
        weights.distil * distil
        + weights.doubt * doubt
        + weights.reconstruction * reconstruction
        + kl_weight * kl
    )
    health = latent_health(mu, logvar)
    check_finite(float(total.detach()), step)
    check_alive(health, step, warm_up=max(50, weights.kl_warm_up))
    values = {
        "loss": float(total.detach()),
        "distil": float(distil.detach()),
        "doubt": float(doubt.detach()),
        "reconstruction": float(reconstruction.detach()),
        "kl_weight": kl_weight,
        **asdict(health),
    }
    return total, values


def _set_mode(run: _Run) -> None:
    """Training mode, but for what must keep the statistics it started with."""
    run.model.train()
    if run.config.trunk == "frozen":
        run.model.encoder.backbone.eval()
    if run.config.start == "sface":
        run.model.encoder.mu_head.norm_in.eval()
        run.model.encoder.mu_head.norm_out.eval()


def _loop(run: _Run, batches: Iterator[Batch], first: int, progress: Progress) -> dict[str, float]:
    config = run.config
    if first >= config.steps:
        raise CheckpointError(f"the checkpoint is at step {first}; ask for more --steps than that")
    rates = [float(group["base_lr"]) for group in run.optimizer.param_groups]
    curve = Curve(run.out / "curve.csv", first=first)
    scores = Curve(run.out / "validation.csv", first=first)
    _set_mode(run)
    started, figures = time.perf_counter(), {}
    if first == 0:
        scores.add({"step": 0, **validate(run.model.encoder, run.held)})
    for step, batch in enumerate(batches, start=first):
        factor = schedule(config, step)
        for group, rate in zip(run.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        run.optimizer.zero_grad(set_to_none=True)
        with run.fabric.autocast():
            loss, values = _losses(run, batch, step)
        run.fabric.backward(loss)
        _reduce_gradients(run)
        run.optimizer.step()
        done = step + 1
        if done % config.log_every == 0 or done == config.steps:
            speed = (done - first) * config.batch / (time.perf_counter() - started)
            if run.fabric.is_global_zero:
                curve.add({"step": done, "lr": config.lr * factor, **values, "speed": speed})
            progress("fit", done, config.steps, {**values, "speed": speed})
        if done % config.validate_every == 0 or done == config.steps:
            if config.trunk == "trained":
                run.held = run.hold_out()
            figures = validate(run.model.encoder, run.held)
            if run.fabric.is_global_zero:
                scores.add({"step": done, **figures})
                _keep_best(run, done, figures)
        if run.fabric.is_global_zero and (done % config.save_every == 0 or done == config.steps):
            save_checkpoint(run.out / LAST, _state(run, done))
    return figures


def _reduce_gradients(run: _Run) -> None:
    """Average gradients over processes.

    Done by hand, since the heads are called apart from the whole model's ``forward``.
    """
    if run.fabric.world_size == 1:
        return
    for parameter in run.model.parameters():
        if parameter.grad is not None:
            reduced = run.fabric.all_reduce(parameter.grad, reduce_op="mean")
            if not isinstance(reduced, Tensor):
                raise TrainingError("gradients could not be averaged over processes")
            parameter.grad = reduced


def _keep_best(run: _Run, step: int, figures: dict[str, float]) -> None:
    """The best is the lowest distance to the teacher plus what sigma misses of it."""
    score = figures["distil"] - 0.1 * figures["sigma_error"]
    if score < run.best:
        run.best = score
        save_checkpoint(run.out / BEST, _state(run, step) | {"validation": figures})


def _calibration(model: Vae, held: HeldOut) -> Tensor:
    """The log-variance head's inputs on the held-out pictures, clean and degraded."""
    encoder = model.encoder.eval()
    device = next(encoder.parameters()).device
    parts = torch.tensor_split(held.last, max(1, len(held.last) // 64))
    with torch.no_grad():
        mu = torch.cat([encoder.mu_head(part.float().to(device)).cpu() for part in parts])
    return torch.cat([held.means, mu], dim=1)


def _state(run: _Run, step: int) -> dict[str, Any]:
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": step,
        "best": run.best,
        "config": run.config.model_dump_json(),
    }
