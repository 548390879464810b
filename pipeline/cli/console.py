"""The terminal: consoles, logging, and words for numbers."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache

from rich.console import Console
from rich.logging import RichHandler

FILE_WIDTH = 140


@cache
def stderr() -> Console:
    """Where progress, warnings and, when stdout carries data, tables go."""
    return Console(stderr=True, highlight=False)


def stdout() -> Console:
    """Where results go; into a file or a pipe, tables are wide enough for paths."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=FILE_WIDTH)
    return console


def set_up_logging(*, debug: bool = False) -> None:
    """Log to standard error: beside the progress bar on a terminal, with times elsewhere."""
    handler: logging.Handler
    if stderr().is_terminal:
        handler = RichHandler(console=stderr(), show_path=False, show_time=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("facestream")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def clock(seconds: float) -> str:
    """``0:07``, ``12:34`` or ``1:02:03``."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
