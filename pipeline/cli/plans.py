"""The plans of ``facestream engines``: which there are, which the pipeline uses, their checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from facestream.engines.base import Precision
from facestream.engines.tensorrt.inventory import EngineCheck, PlanRequest, check_plan
from facestream.engines.tensorrt.plans import PlanStore, StoredPlan
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..core.config import load_settings
from ..core.errors import UsageError
from ..recognition.verify import gate_of, planned, verify_all
from .console import stderr


class Plans:
    """The folder of plans, and the networks that the settings build plans for.

    Args:
        cache: the folder; None takes that of the settings.
        config: file of settings.

    Raises:
        UsageError: the folder is a file, or a setting cannot be used.
    """

    def __init__(self, cache: Path | None, config: Path | None) -> None:
        self.settings = load_settings(file=config, environment=os.environ)
        self.settings.storage.apply()
        folder = cache or self.settings.runtime.serving().cache
        if folder is None or (folder.exists() and not folder.is_dir()):
            raise UsageError(f"{folder} is not a folder; name another with --cache")
        self.store = PlanStore(folder)

    def requests(self, precision: Precision | None = None) -> dict[str, PlanRequest]:
        """What plans are built for, by network; a ``precision`` is that of all of them."""
        chosen = precision or self.settings.runtime.precision
        found = planned(max_batch=self.settings.encoder.max_batch, precision=chosen)
        if precision not in (None, "auto"):
            found = tuple(
                replace(one, options=replace(one.options, precision=chosen)) for one in found
            )
        return {one.name: one for one in found}

    def select(self, which: Sequence[str]) -> list[StoredPlan]:
        """The plans of these networks and keys. Raises UsageError if one of them has no plan."""
        found: list[StoredPlan] = []
        for word in which:
            plans = self.store.select(word)
            if not plans:
                raise UsageError(
                    f"no plan '{word}' in {self.store.folder}; 'facestream engines list' shows them"
                )
            found += [plan for plan in plans if plan not in found]
        return found

    def check(self, which: Sequence[str], *, execute: bool) -> list[EngineCheck]:
        """Compare plans with their checksums, and with ``execute`` their results.

        Args:
            which: networks or keys; none means all, unreadable files included.
            execute: run those that can run here.

        Raises:
            UsageError: one of ``which`` has no plan.
        """
        plans, faults = self.store.list()
        requests, gates = self.requests(), gate_of if execute else None
        chosen = self.select(which) if which else plans
        checked = [check_plan(plan, requests, gates) for plan in chosen]
        if not which:
            checked += [EngineCheck("", "", "damaged", fault) for fault in faults]
        return checked

    def check_engines(self) -> list[EngineCheck]:
        """Run every network on every backend and precision that runs here."""
        with stderr().status("comparing engines with the float32 reference"):
            rows = verify_all(replace(self.settings.runtime.serving(), cache=self.store.folder))
        return [
            EngineCheck(
                network,
                engine,
                "ok" if verdict.passed else "refused",
                "; ".join(verdict.refused),
                dict(verdict.figures),
            )
            for network, engine, verdict in rows
        ]


@contextmanager
def build_progress() -> Iterator[Callable[[str], Callable[[str, float], None]]]:
    """A bar for each plan on a terminal; elsewhere the log says what is built.

    Yields a function that takes a bar's title and returns what takes the phase and share done.
    """
    if not stderr().is_terminal:
        yield lambda title: lambda phase, share: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:

        def begin(title: str) -> Callable[[str, float], None]:
            task = progress.add_task(title, total=1.0)
            return lambda phase, share: progress.update(task, completed=share)

        yield begin
