"""What is trained at which rate, and how the rates run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import CheckpointError
from ..models.vae import Vae
from .config import FitConfig


def parameter_groups(model: Vae, config: FitConfig) -> list[dict[str, Any]]:
    """What is trained, each part at its rate (kept as ``base_lr``); the rest is frozen."""
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


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Moments from the checkpoint, rates from the settings (they may have been changed).

    Raises:
        CheckpointError: it trained other parts of the model.
    """
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


def schedule(config: FitConfig, step: int) -> float:
    """Factor of the learning rates: a short rise, then half a cosine down to 1 %."""
    rise = min(1.0, (step + 1) / max(1, min(100, config.steps // 10)))
    return rise * (0.505 + 0.495 * float(np.cos(np.pi * step / config.steps)))
