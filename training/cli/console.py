"""What all commands share on the terminal: the console, progress bars, common options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ..errors import TrainingError
from . import interrupts

err = Console(stderr=True)
SHARED = Path("../shared/data")
CACHE = Path("runs/cache")

DataOption = Annotated[Path, typer.Option(help="Folder of <set>.zip with <set>.csv.")]
TeacherOption = Annotated[Path, typer.Option(help="SFace's ONNX file (OpenCV Zoo).")]
OutOption = Annotated[Path, typer.Option(help="Folder of the run.")]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error; it shows nothing where there is no terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=err,
        disable=not err.is_terminal,
    ) as bar:
        yield bar


def teller(bar: Progress) -> Callable[..., None]:
    """Turns (what, done, total[, figures]) into bars, one for each ``what``.

    It also raises a KeyboardInterrupt that got lost on the way (``interrupts``).
    """
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int, figures: dict[str, float] | None = None) -> None:
        interrupts.check()
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total, figures="")
        shown = ("loss", "sigma_mean", "sigma_spread", "kl", "speed")
        text = " ".join(f"{k} {v:.3g}" for k, v in (figures or {}).items() if k in shown)
        bar.update(tasks[what], completed=done, total=total, figures=text)
        if text and not err.is_terminal:
            err.print(f"{what} {done}/{total} {text}", highlight=False)

    return tell


def folder(path: Path) -> Path:
    """The folder, made if it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def put_setting(settings: dict[str, Any], item: str) -> None:
    """Put ``name=value`` (or ``group.name=value``) into settings; values are JSON or text."""
    name, equals, text = item.partition("=")
    if not equals:
        raise TrainingError(f"--set wants name=value, not {item!r}")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *groups, last = name.split(".")
    for group in groups:
        settings = settings.setdefault(group, {})
    settings[last] = value
