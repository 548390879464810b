"""What a network costs: parameters and multiply-accumulates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .vae import evaluating


def count_parameters(module: nn.Module) -> int:
    """Numbers that training may change, buffers not counted."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of convolutions, dense layers and attention for this input.

    Normalisation, activations and pooling are not counted, as is the field's habit.
    """
    # The plain form of attention is the one whose products the counter sees.
    with (
        evaluating(module),
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        module(example)
    return int(counter.get_total_flops()) // 2
