"""The training loop: runs any task, resumable, with its record beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from lightning_fabric import Fabric
from torch import nn

from ..errors import CheckpointError
from ..progress import ReportProgress, silent
from ..record import Curve
from .checkpoint import restore_module, save_checkpoint
from .optimise import average_buffers, restore_optimizer, schedule

LAST: Final = "last.pt"
BEST: Final = "best.pt"


class Task(Protocol):
    """A network with its optimisers, its batches and its losses; ``run_task`` runs it.

    Attributes:
        kind: e.g. ``identity``; kept in checkpoints, so that a run is not resumed as another.
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


@dataclass(frozen=True, slots=True)
class RunSchedule:
    """How long a run is and how often it stops to write.

    Attributes:
        steps: batches in all, those before a resume included.
        batch: pictures in a batch, for the speed that is logged.
        log_every, save_every, validate_every: in steps.
    """

    steps: int
    batch: int
    log_every: int = 10
    save_every: int = 100
    validate_every: int = 200

    def due(self, every: int, done: int) -> bool:
        """Whether what happens every so many steps happens after ``done`` of them."""
        return done % every == 0 or done == self.steps


def run_task(
    task: Task,
    plan: RunSchedule,
    out: Path,
    *,
    config_json: str,
    fabric: Fabric,
    resume: tuple[dict[str, Any], Path] | None = None,
    progress: ReportProgress = silent,
) -> dict[str, float]:
    """Train until ``plan.steps`` batches have been seen.

    Writes to ``out``: ``last.pt``, ``best.pt`` (by ``task.score``), ``curve.csv`` and
    ``validation.csv``. A resumed run goes on as if it had never stopped.

    Args:
        task: what to train; its module and optimisers are on ``fabric``'s device.
        plan: how long, and how often to write.
        out: an existing folder.
        config_json: settings, kept in the checkpoints.
        resume: a checkpoint's content and where it was read from.

    Returns:
        The last validation's figures.

    Raises:
        CheckpointError: ``resume`` is of another task or architecture, or already at the end.
        CollapseError: from the task; the last checkpoint stays.
    """
    first, best = _restore(task, resume) if resume is not None else (0, float("inf"))
    if first >= plan.steps:
        raise CheckpointError(f"the checkpoint is at step {first}; ask for more --steps than that")
    record = _Record(out, first=first, best=best) if fabric.is_global_zero else None
    figures: dict[str, float] = {}
    if first == 0 and record is not None:
        record.scores.add({"step": 0, **task.validate()})
    started = time.perf_counter()
    for step, batch in enumerate(task.batches(first), start=first):
        factor = _set_rates(task, step, plan.steps)
        values = task.train_step(batch, step)
        done = step + 1
        if plan.due(plan.log_every, done) and record is not None:
            values["speed"] = (done - first) * plan.batch / (time.perf_counter() - started)
            record.curve.add({"step": done, "rate": factor, **values})
            progress("fit", done, plan.steps, values)
        validating, saving = plan.due(plan.validate_every, done), plan.due(plan.save_every, done)
        if validating or saving:
            average_buffers(fabric, task.module)
        if validating:
            figures = task.validate()
        if record is not None:
            if validating:
                record.validated(task, done, figures, config_json)
            if saving:
                save_checkpoint(out / LAST, _state(task, done, record.best, config_json))
    return figures


class _Record:
    """What a run leaves behind; only the first of several processes has one."""

    def __init__(self, out: Path, *, first: int, best: float) -> None:
        self._out = out
        self.best = best
        self.curve = Curve(out / "curve.csv", first=first)
        self.scores = Curve(out / "validation.csv", first=first)

    def validated(self, task: Task, step: int, figures: dict[str, float], config_json: str) -> None:
        """Note the figures, and keep the checkpoint if there was no better one."""
        self.scores.add({"step": step, **figures})
        score = task.score(figures)
        if score < self.best:
            self.best = score
            state = _state(task, step, score, config_json)
            save_checkpoint(self._out / BEST, state | {"validation": figures})


def _set_rates(task: Task, step: int, steps: int) -> float:
    factor = schedule(step, steps)
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
    return factor


def _restore(task: Task, resume: tuple[Mapping[str, Any], Path]) -> tuple[int, float]:
    state, path = resume
    kind = state.get("kind", "identity")
    if kind != task.kind:
        raise CheckpointError(f"{path} is of a run of kind '{kind}', not '{task.kind}'")
    restore_module(task.module, state["model"], path)
    saved = state.get("optimizers")
    if saved is None or set(saved) != set(task.optimizers):
        raise CheckpointError(f"{path} has no state of this run's optimisers; it cannot be resumed")
    for name, optimizer in task.optimizers.items():
        restore_optimizer(optimizer, saved[name])
    return int(state["step"]), float(state["best"])


def _state(task: Task, step: int, best: float, config_json: str) -> dict[str, Any]:
    return {
        "kind": task.kind,
        "model": task.module.state_dict(),
        "optimizers": {name: o.state_dict() for name, o in task.optimizers.items()},
        "step": step,
        "best": best,
        "config": config_json,
    }
