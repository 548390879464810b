"""What is trained at which rate, and how the rates run."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ..errors import CheckpointError, TrainingError
from ..models.vae import VaeEncoder
from .config import FitConfig
from .guards import check_finite


def parameter_groups(
    encoder: VaeEncoder, decoder: nn.Module, tail: nn.Module, config: FitConfig
) -> list[dict[str, Any]]:
    """What is trained, each part at its rate (kept as ``base_lr``); the rest is frozen.

    Args:
        encoder: all of it is frozen but for what is named here.
        decoder: trained where the settings ask for reconstruction.
        tail: the part of the trunk that is trained (``trunk.split_trunk``).
    """
    encoder.requires_grad_(False)
    decoder.requires_grad_(False)
    parts: list[tuple[str, list[nn.Module], float]] = [
        ("logvar", [encoder.logvar_head], config.lr),
        ("decoder", [decoder], config.lr if config.weights.reconstruction > 0 else 0.0),
        ("mu", [encoder.mu_head.dense], config.lr if config.start == "fresh" else config.lr_mu),
        ("trunk", [tail], config.lr if config.start == "fresh" else config.lr_trunk),
    ]
    if config.start == "fresh":
        parts.append(("mu norms", [encoder.mu_head.norm_in, encoder.mu_head.norm_out], config.lr))
    groups: list[dict[str, Any]] = []
    for name, modules, rate in parts:
        parameters = [p for module in modules for p in module.parameters()]
        if rate > 0 and parameters:
            # Pulling weights that start from a teacher towards zero would only undo them.
            decay = {"weight_decay": 0.0} if config.start != "fresh" and name == "mu" else {}
            groups.append({"params": parameters, "lr": rate, "base_lr": rate, "name": name} | decay)
            for parameter in parameters:
                parameter.requires_grad_(True)
    return groups


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Moments from the checkpoint, rates from the settings (they may have been changed).

    Raises:
        CheckpointError: it trained other parts of the model.
    """
    groups = [dict(group) for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(saved)
    except ValueError as error:
        raise CheckpointError(
            f"the checkpoint trained other parts of the model ({error}); keep the settings that "
            "say what is trained as they were"
        ) from error
    for group, wanted in zip(optimizer.param_groups, groups, strict=True):
        group["base_lr"] = wanted["base_lr"]
        group["weight_decay"] = wanted["weight_decay"]


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rates: a short rise, then half a cosine down to 1 %."""
    rise = min(1.0, (step + 1) / max(1, min(100, steps // 10)))
    return rise * (0.505 + 0.495 * math.cos(math.pi * step / steps))


@torch.no_grad()
def average_buffers(fabric: Fabric, module: nn.Module) -> None:
    """Make batch norms' statistics the mean of all processes', which each saw other pictures."""
    if fabric.world_size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            reduced = fabric.all_reduce(buffer, reduce_op="mean")
            if isinstance(reduced, Tensor):
                buffer.copy_(reduced)


def update(fabric: Fabric, optimizer: torch.optim.Optimizer, step: int, *, longest: float) -> float:
    """Average the gradients over processes, clip them and step.

    Every trained parameter takes part in every process, with zeros where a batch gave it no
    gradient (no labelled picture, say): processes that reduce different lists wait for each other
    for ever.

    Args:
        optimizer: whose parameters are updated.
        longest: norm that the gradient is clipped to.

    Returns:
        The norm of the gradient before clipping.

    Raises:
        CollapseError: the gradient is no number; nothing was updated.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    if fabric.world_size > 1:
        given = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        reduced = fabric.all_reduce(torch.cat([g.flatten() for g in given]), reduce_op="mean")
        if not isinstance(reduced, Tensor):
            raise TrainingError("gradients could not be averaged over processes")
        parts = torch.split(reduced, [p.numel() for p in trained])
        for parameter, part in zip(trained, parts, strict=True):
            parameter.grad = part.view_as(parameter)
    length = float(nn.utils.clip_grad_norm_(trained, longest))
    check_finite(length, step)
    optimizer.step()
    return length
