"""The terminal: consoles, logging, and words for numbers."""

from __future__ import annotations

import codecs
import io
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from ..core.errors import UsageError

# Rich folds what is wider than the console; in a file or a pipe nothing needs to be folded.
FILE_WIDTH = 1000

# What moves the cursor, changes colours, or turns the direction of what follows it.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with escapes for what controls a terminal; names of files may hold anything."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Table(Table):
    """A table whose cells control no terminal."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        for cell in cells:
            if isinstance(cell, Text) and _CONTROLS.search(cell.plain):
                cell.plain = harmless(cell.plain)
        super().add_row(*(harmless(c) if isinstance(c, str) else c for c in cells), **options)


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = harmless(record.message)
        return super().formatMessage(record)


@cache
def stderr() -> Console:
    """Where progress, warnings and, when stdout carries data, tables go."""
    return Console(stderr=True, highlight=False, emoji=False)


def stdout() -> Console:
    """Where results go; in a file or a pipe, lines are as long as they need to be."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    return console


def say(text: str) -> None:
    """Print one line of results; names can hold what looks like markup or emoji."""
    stdout().print(harmless(text), soft_wrap=True, markup=False)


def warn(text: str) -> None:
    """Print one line on standard error, as errors are printed."""
    stderr().print(f"facestream: {harmless(text)}", soft_wrap=True, markup=False)


def confirmed(question: str, *, doing: str) -> bool:
    """Ask on the terminal.

    Raises UsageError if there is no terminal; the message begins with ``doing``.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"{doing} needs a confirmation, and there is no terminal; give --yes")
    return typer.confirm(question)


def print_json(content: Any) -> None:
    """Print JSON on standard output, see `json_text`."""
    print(json_text(content, indent=2))


def json_text(content: Any, *, indent: int | None = None) -> str:
    """JSON for standard output: ASCII where its encoding is not UTF-8, so it is always UTF-8."""
    escape = codecs.lookup(_encoding()).name != "utf-8"
    return json.dumps(content, indent=indent, ensure_ascii=escape)


def table(*columns: str, title: str | Text | None = None, right: Collection[str] = ()) -> Table:
    """An empty table whose cells fold; the columns in ``right`` are aligned to the right."""
    empty = _Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        side: Literal["right", "left"] = "right" if name in right else "left"
        empty.add_column(_as_printed(name), justify=side, overflow="fold")
    return empty


def set_up_logging(*, debug: bool = False) -> None:
    """Log to standard error: above the progress bar on a terminal, with times elsewhere."""
    handler: logging.Handler
    if stderr().is_terminal:
        handler = RichHandler(console=stderr(), show_path=False, show_time=False)
        handler.setFormatter(_Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
    # Of what is odd about a photo, our own lines say what matters.
    warnings.filterwarnings("ignore", module="PIL")
    logger = logging.getLogger("facestream")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undo `set_up_logging` at the end: a program that calls `main` keeps its own settings."""
    logger = logging.getLogger("facestream")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


# Characters of our own texts that Latin-1, cp1252 or ASCII lack.
_SPELT = {"σ": "sigma", "–": "-", "−": "-", "·": "-", "×": "x", "…": "...", "≥": ">="}


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Error handler of the streams for what the encoding lacks: a spelling, or JSON's escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELT.get(char) or _json_escape(char) for char in text), error.end


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _as_printed(text: str) -> str:
    """The text as standard output shows it, so that a table reserves the right width."""
    encoding = _encoding()
    return text.encode(encoding, "facestream.escaped").decode(encoding)


def _encoding() -> str:
    """Of standard output."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


codecs.register_error("facestream.escaped", _escaped)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Make standard output and error take any text, and exist, while a command runs."""
    with ExitStack() as undo:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # closed by the shell: >&-
                setattr(sys, name, undo.enter_context(Path(os.devnull).open("w")))
                undo.callback(setattr, sys, name, None)
            elif isinstance(stream, io.TextIOWrapper):
                undo.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors="facestream.escaped")
        yield


@contextmanager
def muted(name: str) -> Iterator[None]:
    """Keep a logger's warnings back."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def clock(seconds: float) -> str:
    """``0:07``, ``12:34`` or ``1:02:03``."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    """``1 face``, ``2 faces``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
