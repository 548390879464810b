"""``facestream embed``: the faces of many pictures as arrays."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..analysis import load_models
from ..core.config import load_settings
from ..core.errors import SourceError
from ..sinks.files import check_writable
from .batch_embed import Harvest, Keep
from .console import plural, stderr, stdout
from .errors import BAD_INPUT, INTERRUPTED
from .pictures import (
    in_batches,
    list_pictures,
    nothing_readable,
    read_ahead,
)
from .progress import LOG_SECONDS
from .run import what_runs
from .signals import stopping_on_signals

log = logging.getLogger(__name__)

NAMED = 20


def embed_paths(
    paths: Sequence[str],
    *,
    out: Path,
    keep: Keep,
    config: Path | None,
    flags: Mapping[str, Any],
) -> int:
    """Embed the faces of pictures into an ``.npz`` file; returns the exit status.

    Interrupted, it writes what it has.

    Raises:
        UsageError: nothing to read, the file cannot be written, a setting is wrong.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    check_writable(out)
    files = list_pictures(paths)
    began = time.monotonic()
    with load_models(settings) as models:
        running = what_runs(models, settings)
        harvest = Harvest(models.detector, models.encoder, keep)
        stopped = Event()
        with (
            stopping_on_signals(stopped.set),
            _progress(len(files)) as advance,
            closing(read_ahead(files)) as pictures,
        ):
            for batch in in_batches(pictures):
                harvest.add(batch)
                advance(harvest)
                if stopped.is_set():
                    break
        if len(harvest.unreadable) == len(files):
            raise SourceError(nothing_readable([why for _, why in harvest.unreadable]))
        harvest.save(out)
    log.info("%s", running)
    _summarise(harvest, out, total=len(files), seconds=time.monotonic() - began)
    if stopped.is_set() and harvest.pictures < len(files):
        return INTERRUPTED
    return BAD_INPUT if harvest.unreadable else 0


def _summarise(harvest: Harvest, out: Path, *, total: int, seconds: float) -> None:
    for _, why in harvest.unreadable[:NAMED]:
        stderr().print(f"facestream: {why}", soft_wrap=True, markup=False)
    more = len(harvest.unreadable) - NAMED
    if more > 0:
        stderr().print(f"facestream: and {more} more; all are in the array 'unreadable'")
    left = (
        "" if harvest.pictures == total else f"Interrupted: {total - harvest.pictures} left out. "
    )
    stdout().print(
        f"{left}{plural(harvest.faces, 'face')} of "
        f"{plural(harvest.pictures, 'picture')} in {out} · "
        f"{len(harvest.unreadable)} unreadable · {seconds:.1f} s, "
        f"{harvest.pictures / seconds:.1f} pictures/s",
        soft_wrap=True,
        markup=False,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Harvest], None]]:
    """Yields a function that shows how far the harvest is."""
    if stderr().is_terminal:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pictures · {task.fields[faces]} faces · {task.fields[rate]:.0f}/s"),
            TimeRemainingColumn(),
        )
        began = time.monotonic()
        with Progress(*columns, console=stderr(), transient=True) as bar:
            task = bar.add_task("embed", total=total, faces=0, rate=0.0)
            yield lambda now: bar.update(
                task,
                completed=now.pictures,
                faces=now.faces,
                rate=now.pictures / max(time.monotonic() - began, 1e-6),
            )
        return
    last = time.monotonic()

    def say(now: Harvest) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            log.info("%d/%d pictures, %d faces", now.pictures, total, now.faces)

    yield say
