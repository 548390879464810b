"""What the commands of ``facestream engines`` do, but for ``verify``."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import typer
from facestream.engines.base import Precision
from facestream.engines.tensorrt.inventory import (
    PlanRequest,
    build_missing,
    choose_targets,
    unused_reason,
)
from facestream.engines.tensorrt.plans import PlanStore, StoredPlan
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..core.config import Settings, load_settings
from ..core.errors import UsageError
from ..recognition.planned import planned
from .console import plural, stderr, stdout
from .plan_tables import facts_of, overview, portrait

log = logging.getLogger(__name__)

Form = Literal["table", "json"]
Tell = Callable[[str, float], None]


def build_plans(
    networks: Sequence[str],
    targets: Sequence[str],
    *,
    precision: Precision | None,
    cache: Path | None,
    config: Path | None,
) -> int:
    """Build plans, or find them built; returns the exit status.

    Raises:
        UsageError: a network or a target does not exist, or there is no GPU and no target.
        BackendUnavailable: TensorRT is not installed or cannot build one of them.
    """
    settings = settings_of(config)
    chosen = _networks(networks, settings, precision)
    try:
        where = choose_targets(targets)
    except ValueError as error:
        raise UsageError(str(error)) from error
    store = PlanStore(folder_of(cache, settings))
    started = time.monotonic()
    with _progress() as begin:
        built = build_missing(
            store,
            chosen,
            where,
            lambda one, recipe: begin(f"{one.name} {recipe.target} {recipe.precision}"),
        )
    kept = len(chosen) * len(where.targets) - built
    stdout().print(
        f"{plural(built, 'plan')} built in {time.monotonic() - started:.1f} s by "
        f"{where.variant.name} {where.variant.version}, {kept} there already, in {store.folder}",
        soft_wrap=True,
    )
    return 0


def list_plans(*, cache: Path | None, config: Path | None, form: Form) -> None:
    """Print which plans there are."""
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans, faults = store.list()
    requests = plans_of(settings)
    if form == "json":
        rows = [
            {**facts_of(plan), "unused": unused_reason(plan.manifest, requests)} for plan in plans
        ]
        print(json.dumps({"folder": str(store.folder), "plans": rows, "faults": faults}, indent=2))
        return
    for fault in faults:
        log.warning("%s", fault)
    if not plans:
        stdout().print(
            f"No plans in {store.folder}: 'facestream engines build' makes them.", soft_wrap=True
        )
        return
    stdout().print(overview(plans, requests))


def show_plans(which: str, *, cache: Path | None, config: Path | None, form: Form) -> None:
    """Print all there is to know of a plan, or of all plans of a network.

    Raises:
        UsageError: there is none.
    """
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans = select(store, [which])
    if form == "json":
        print(json.dumps([facts_of(plan) for plan in plans], indent=2))
        return
    requests = plans_of(settings)
    for plan in plans:
        for part in portrait(plan, requests):
            stdout().print(part)


def clean_plans(
    which: Sequence[str],
    *,
    use: Literal["any", "unused"],
    older: float | None,
    ask: Literal["always", "never"],
    cache: Path | None,
    config: Path | None,
) -> None:
    """Remove the plans that all of the arguments describe.

    Raises:
        UsageError: there is none of that name or key.
        BackendUnavailable: the folder cannot be written.
    """
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans = select(store, which) if which else store.list()[0]
    if use == "unused":
        requests = plans_of(settings)
        plans = [plan for plan in plans if unused_reason(plan.manifest, requests)]
    if older is not None:
        latest = datetime.now(UTC) - timedelta(days=older)
        plans = [plan for plan in plans if plan.manifest.created_at <= latest]
    size = sum(plan.manifest.size for plan in plans) / 2**20
    words = f"{plural(len(plans), 'plan')} ({size:.1f} MiB) in {store.folder}"
    if plans and ask == "always":
        if not sys.stdin.isatty():
            raise UsageError(
                "removing plans needs a confirmation, and there is no terminal; give --yes"
            )
        if not typer.confirm(f"Remove {words}?"):
            stdout().print("Nothing was removed.")
            return
    for plan in plans:
        store.discard(plan.manifest.key)
    rest = store.sweep()
    stdout().print(
        f"Removed {words}" + (f" and {rest / 2**20:.1f} MiB of remains" if rest else ""),
        soft_wrap=True,
    )


def settings_of(config: Path | None) -> Settings:
    return load_settings(file=config, environment=os.environ)


def folder_of(cache: Path | None, settings: Settings) -> Path:
    """Where the plans lie.

    Raises:
        UsageError: it is there and is not a folder.
    """
    folder = cache or settings.runtime.serving().cache
    if folder is None or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder} is not a folder; name another with --cache")
    return folder


def _networks(
    names: Sequence[str], settings: Settings, precision: Precision | None
) -> list[PlanRequest]:
    known = plans_of(settings, precision)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"no network '{unknown[0]}'; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names or known)]


def plans_of(settings: Settings, precision: Precision | None = None) -> dict[str, PlanRequest]:
    """What plans are built for, by name; ``precision`` is of all of them."""
    chosen = precision or settings.runtime.precision
    found = planned(max_batch=settings.encoder.max_batch, precision=chosen)
    if precision not in (None, "auto"):
        found = tuple(replace(one, options=replace(one.options, precision=chosen)) for one in found)
    return {one.name: one for one in found}


def select(store: PlanStore, which: Sequence[str]) -> list[StoredPlan]:
    """The plans of these networks and keys.

    Raises:
        UsageError: there is none of one of them.
    """
    found: list[StoredPlan] = []
    for word in which:
        plans = store.select(word)
        if not plans:
            raise UsageError(
                f"no plan '{word}' in {store.folder}; 'facestream engines list' shows them"
            )
        found += [plan for plan in plans if plan not in found]
    return found


@contextmanager
def _progress() -> Iterator[Callable[[str], Tell]]:
    """A bar for each plan on a terminal; elsewhere the log says what is built."""
    if not stderr().is_terminal:
        yield lambda title: lambda phase, share: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:

        def begin(title: str) -> Tell:
            task = progress.add_task(title, total=1.0)
            return lambda phase, share: progress.update(task, completed=share)

        yield begin
