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

from ..analysis import FaceAnalyzer, Keep
from ..batch_embed import EmbeddingTable
from ..core.config import load_settings
from ..core.errors import SourceError
from ..sinks.files import check_writable
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
    with FaceAnalyzer(settings).load() as analyzer:
        running = what_runs(analyzer)
        table = EmbeddingTable(analyzer, keep)
        stopped = Event()
        with (
            stopping_on_signals(stopped.set),
            _progress(len(files)) as advance,
            closing(read_ahead(files)) as pictures,
        ):
            for batch in in_batches(pictures):
                table.add(batch)
                advance(table)
                if stopped.is_set():
                    break
        if len(table.unreadable) == len(files):
            raise SourceError(nothing_readable([why for _, why in table.unreadable]))
        table.save(out)
    log.info("%s", running)
    _summarise(table, out, total=len(files), seconds=time.monotonic() - began)
    if stopped.is_set() and table.pictures < len(files):
        return INTERRUPTED
    return BAD_INPUT if table.unreadable else 0


def _summarise(table: EmbeddingTable, out: Path, *, total: int, seconds: float) -> None:
    for _, why in table.unreadable[:NAMED]:
        stderr().print(f"facestream: {why}", soft_wrap=True, markup=False)
    more = len(table.unreadable) - NAMED
    if more > 0:
        stderr().print(f"facestream: and {more} more; all are in the array 'unreadable'")
    left = "" if table.pictures == total else f"Interrupted: {total - table.pictures} left out. "
    stdout().print(
        f"{left}{plural(table.faces, 'face')} of "
        f"{plural(table.pictures, 'picture')} in {out} · "
        f"{len(table.unreadable)} unreadable · {seconds:.1f} s, "
        f"{table.pictures / seconds:.1f} pictures/s",
        soft_wrap=True,
        markup=False,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[EmbeddingTable], None]]:
    """Yields a function that shows how far it is."""
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

    def say(now: EmbeddingTable) -> None:
        nonlocal last
        if time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            log.info("%d/%d pictures, %d faces", now.pictures, total, now.faces)

    yield say
