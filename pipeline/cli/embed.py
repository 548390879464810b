"""``facestream embed``: the faces of many pictures as arrays."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from ..analysis import FaceAnalyzer, Keep
from ..batch_embed import EmbeddingTable
from ..core.config import load_settings
from ..core.errors import SourceError
from ..core.picture_files import in_batches, list_pictures, nothing_readable, read_ahead
from ..sinks.files import check_writable
from ..sinks.locks import OutputLock
from .console import plural, say, warn
from .errors import BAD_INPUT, INTERRUPTED
from .progress import show_count
from .run import what_runs
from .signals import stopping_on_signals

log = logging.getLogger(__name__)

NAMED = 20
"""Unreadable pictures that are named on the terminal."""


def embed_paths(
    paths: Sequence[str], *, out: Path, keep: Keep, config: Path | None, flags: Mapping[str, Any]
) -> int:
    """Embed the faces of pictures into an ``.npz`` file; returns the exit status.

    Interrupted, it writes what it has.

    Raises:
        UsageError: nothing to read, the file cannot be written, a setting is wrong.
    """
    settings = load_settings(file=config, environment=os.environ, flags=flags)
    settings.storage.apply()
    files = list_pictures(paths)
    began = time.monotonic()
    with OutputLock(out), FaceAnalyzer(settings) as analyzer:
        check_writable(out)
        analyzer.load()
        running = what_runs(analyzer)
        rows = EmbeddingTable(analyzer, keep)
        stopped = Event()
        with (
            stopping_on_signals(stopped.set),
            show_count("pictures", len(files)) as show,
            closing(read_ahead(files)) as pictures,
        ):
            for batch in in_batches(pictures):
                rows.add(batch)
                rate = rows.pictures / max(time.monotonic() - began, 1e-6)
                show(rows.pictures, f"· {plural(rows.faces, 'face')} · {rate:.0f}/s")
                if stopped.is_set():
                    break
        if len(rows.unreadable) == len(files):
            raise SourceError(nothing_readable([why for _, why in rows.unreadable]))
        rows.save(out)
    log.info("%s", running)
    _summarise(rows, out, total=len(files), seconds=time.monotonic() - began)
    if stopped.is_set() and rows.pictures < len(files):
        return INTERRUPTED
    return BAD_INPUT if rows.unreadable else 0


def _summarise(rows: EmbeddingTable, out: Path, *, total: int, seconds: float) -> None:
    for why in [*rows.damaged[:NAMED], *(why for _, why in rows.unreadable[:NAMED])]:
        warn(why)
    if len(rows.unreadable) > NAMED:
        warn(f"and {len(rows.unreadable) - NAMED} more; all are in the array 'unreadable'")
    left = "" if rows.pictures == total else f"Interrupted: {total - rows.pictures} left out. "
    say(
        f"{left}{plural(rows.faces, 'face')} of {plural(rows.pictures, 'picture')} in {out} · "
        f"{len(rows.unreadable)} unreadable · {seconds:.1f} s, "
        f"{rows.pictures / seconds:.1f} pictures/s"
    )
