"""What the training loop asks of that which it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import nn


class Task(Protocol):
    """A network with its optimisers, its batches and its losses; ``loop.run_task`` runs it.

    Attributes:
        kind: what it is, e.g. ``identity``; kept in checkpoints, so that a run is not resumed as
            another.
        module: all that is saved and restored.
        optimizers: by name; each parameter group has a ``base_lr``, which the loop multiplies with
            the schedule's factor.
    """

    kind: str
    optimizers: Mapping[str, torch.optim.Optimizer]

    @property
    def module(self) -> nn.Module: ...

    def batches(self, first: int) -> Iterator[Any]:
        """The batches from step ``first`` on; the same for the same seed, however often resumed."""
        ...

    def train_step(self, batch: Any, step: int) -> dict[str, float]:
        """Forward, backward and the optimisers' steps.

        Returns:
            Figures to log; ``loss`` is one of them.

        Raises:
            CollapseError: the loss is no number, or the model died. Nothing was updated.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Figures on data that is not trained on; leaves the module's mode as it was."""
        ...

    def score(self, figures: Mapping[str, float]) -> float:
        """One number of a validation's figures, lower is better: which checkpoint is the best."""
        ...
