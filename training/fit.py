"""The training loop: on a CPU, a GPU or several, resumable, with its record beside it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from .checkpoint import (
    Curve,
    git_revision,
    load_checkpoint,
    restore,
    save_checkpoint,
    write_json,
)
from .config import FitConfig
from .data import FaceRow, make_manifest, read_folder, split_identities, write_manifest
from .errors import CheckpointError, DataError, TrainingError
from .guards import check_alive, check_finite, latent_health
from .losses import (
    annealed,
    cosine_distance,
    direction,
    heteroscedastic_nll,
    kl_loss,
    masked_mse,
)
from .sface import load_sface
from .teacher import teacher_targets
from .trunk import TrunkFeatures, TrunkRun, frozen_trunk, torch_trunk
from .vae import Vae, make_vae, reparameterise
from .validate import HeldOut, prepare_held_out, validate
from .views import Batch, Batches, Views, identity_centres

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int, dict[str, float]], None]
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
    model = make_vae(config.backbone, dim=config.dim)
    if state is None and config.start == "sface":
        load_sface(model.encoder, config.teacher)
    elif state is not None and resume is not None:
        restore(model, state, resume)

    train, held_rows, train_targets, held_targets = _prepare_data(config, progress)
    if fabric.is_global_zero:
        _write_record(config, out, [*train, *held_rows])
    model.to(fabric.device)
    backbone = model.encoder.backbone
    if config.trunk == "trained":
        trunk = torch_trunk(backbone)
    else:
        trunk = frozen_trunk(backbone, fabric.device, threads=config.threads)

    def hold_out() -> HeldOut:
        return prepare_held_out(config.data, held_rows, held_targets, trunk)

    held = hold_out()
    if state is None:
        model.encoder.logvar_head.calibrate(_calibration(model, held))
    optimizer = torch.optim.AdamW(_groups(model, config), weight_decay=config.weight_decay)
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
        floor=_target_floor(train, train_targets),
    )
    if state is not None:
        _restore_optimizer(optimizer, state)
        first = int(state["step"])
        run.best = float(state["best"])
    loader = DataLoader(
        Views(config.data, train, train_targets, seed=config.seed),
        batch_sampler=Batches(
            len(train),
            config.batch,
            seed=config.seed,
            first=first,
            steps=config.steps,
            shard=(fabric.global_rank, fabric.world_size),
        ),
        num_workers=config.workers,
    )
    return _loop(run, iter(loader), first, progress)


def _prepare_data(
    config: FitConfig, progress: Progress
) -> tuple[list[FaceRow], list[FaceRow], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rows = read_folder(config.data, datasets=config.datasets)
    train, held = split_identities(rows, percent=config.held_out_percent, seed=config.seed)
    rng = np.random.default_rng(config.seed)
    if config.limit and config.limit < len(train):
        train = [train[i] for i in sorted(rng.choice(len(train), config.limit, replace=False))]
    # People with several pictures come first: only they make pairs to tell apart.
    counts: dict[str, int] = {}
    for row in held:
        if row.identity is not None:
            counts[row.identity] = counts.get(row.identity, 0) + 1
    held.sort(key=lambda r: counts.get(r.identity or "", 0) < 2)
    held = sorted(held[: config.validation_pictures], key=lambda r: (r.dataset, r.member))
    if len(train) < 2 or len(held) < 2:
        raise DataError(
            f"too few pictures in {config.data}: {len(train)} to train on and {len(held)} held out"
        )
    together = sorted([*train, *held], key=lambda r: (r.dataset, r.member))
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress("teacher", done, len(together), {})

    plain, mirror = teacher_targets(
        config.data,
        together,
        teacher=config.teacher,
        cache=config.cache,
        threads=config.threads,
        progress=tell,
    )
    target = dict(zip(together, (plain + mirror) / 2, strict=True))
    return (
        train,
        held,
        np.stack([target[r] for r in train]),
        np.stack([target[r] for r in held]),
    )


def _write_record(config: FitConfig, out: Path, rows: list[FaceRow]) -> None:
    write_json(out / "config.json", config.model_dump(mode="json"))
    write_manifest(out / "manifest.json", make_manifest(config.data, rows))
    record = {
        "git": git_revision(Path(__file__).parent),
        "torch": torch.__version__,
        "seed": config.seed,
    }
    write_json(out / "run.json", record)


def _groups(model: Vae, config: FitConfig) -> list[dict[str, Any]]:
    """What is trained, each part at its rate."""
    encoder = model.encoder
    groups = [
        {"params": [*encoder.logvar_head.parameters()], "lr": config.lr, "name": "logvar"},
        {"params": [*model.decoder.parameters()], "lr": config.lr, "name": "decoder"},
    ]
    lr_mu = config.lr if config.start == "fresh" else config.lr_mu
    if lr_mu > 0:
        dense = encoder.mu_head.dense
        # Pulling weights that start from a teacher towards zero would only undo them.
        groups.append(
            {"params": [*dense.parameters()], "lr": lr_mu, "weight_decay": 0.0, "name": "mu"}
        )
    else:
        encoder.mu_head.requires_grad_(False)
    if config.trunk == "trained":
        lr = config.lr if config.start == "fresh" else config.lr_trunk
        groups.append({"params": [*encoder.backbone.parameters()], "lr": lr, "name": "trunk"})
    else:
        encoder.backbone.requires_grad_(False)
    if config.start == "fresh":
        norms = [*encoder.mu_head.norm_in.parameters(), *encoder.mu_head.norm_out.parameters()]
        groups.append({"params": norms, "lr": config.lr, "name": "mu norms"})
    for group in groups:
        group["base_lr"] = group["lr"]
    return groups


def _restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Moments from the checkpoint, rates from the settings (they may have been changed)."""
    groups = [dict(group) for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state["optimizer"])
    except ValueError as error:
        raise CheckpointError(
            f"the checkpoint trained other parts of the model ({error}); keep start, trunk and "
            "whether lr_mu is 0 as they were"
        ) from error
    for group, wanted in zip(optimizer.param_groups, groups, strict=True):
        group["base_lr"] = wanted["base_lr"]
        group["weight_decay"] = wanted["weight_decay"]


def _calibration(model: Vae, held: HeldOut) -> Tensor:
    """The log-variance head's inputs on the held-out pictures, clean and degraded."""
    encoder = model.encoder.eval()
    device = next(encoder.parameters()).device
    parts = torch.tensor_split(held.last, max(1, len(held.last) // 64))
    with torch.no_grad():
        mu = torch.cat([encoder.mu_head(part.float().to(device)).cpu() for part in parts])
    return torch.cat([held.means, mu], dim=1)


def _target_floor(rows: list[FaceRow], targets: np.ndarray[Any, Any]) -> float:
    """Mean squared distance, a dimension, of a clean picture to its person's other pictures."""
    centres, flags = identity_centres(rows, targets)
    chosen = flags > 0
    if not chosen.any():
        return 0.0
    a = direction(torch.from_numpy(targets[chosen]))
    b = direction(torch.from_numpy(centres[chosen]))
    return float((a - b).square().mean())


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


def _schedule(config: FitConfig, step: int) -> float:
    """Factor of the learning rates: a short rise, then half a cosine down to 1 %."""
    rise = min(1.0, (step + 1) / max(1, min(100, config.steps // 10)))
    return rise * (0.505 + 0.495 * float(np.cos(np.pi * step / config.steps)))


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
        factor = _schedule(config, step)
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


def _state(run: _Run, step: int) -> dict[str, Any]:
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": step,
        "best": run.best,
        "config": run.config.model_dump_json(),
    }
