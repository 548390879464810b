"""What all commands share on the terminal: console, progress, tables, options, Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import typer
from facestream.engines.cards import MODELS
from facestream.engines.options import Serving
from facestream.pipeline.recognition.encoder import Encoder
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from ..errors import DataError, TrainingError
from ..evaluation.protocol import Interval
from ..fit.config import RENAMED
from ..progress import ReportProgress

# Nothing that is printed is read as markup or emoji: paths can look like it.
err = Console(stderr=True, markup=False, emoji=False)
SHARED = Path("../shared/data")
TRAIN, LFW = SHARED / "train", SHARED / "lfw"
SFACE = SHARED / "models/face_recognition_sface_2021dec.onnx"
CACHE = Path("runs/cache")
ENCODER = MODELS / "vae_encoder.json"

DataOption = Annotated[Path, typer.Option(help="Folder of <set>.zip with <set>.csv.")]
TeacherOption = Annotated[Path, typer.Option(help="SFace's ONNX file (OpenCV Zoo).")]
OutOption = Annotated[Path, typer.Option(help="Folder of the run.")]
ReportOption = Annotated[Path, typer.Option("--out", help="Folder for the report and plots.")]
ModelOption = Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")]
LfwOption = Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")]
FoldsOption = Annotated[int, typer.Option(min=2, max=10, help="Use LFW's first folds only.")]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads.")]
SeedOption = Annotated[int, typer.Option(help="Of everything random.")]
CheckpointArgument = Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/vae/best.pt.")]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, e.g. --set steps=500 --set weights.kl=0.02."),
]
GeneratorOption = Annotated[
    Path, typer.Option("--model", help="Card of a decoder (.json) or a checkpoint (.pt).")
]
RecogniserOption = Annotated[
    Path | None, typer.Option("--encoder", help="Card of the recogniser; the shipped one if none.")
]
Settings = TypeVar("Settings", bound=BaseModel)
_interrupted = False


def listen() -> None:
    """Remember Ctrl-C from now on; leaves it alone where it is ignored (a background job).

    A KeyboardInterrupt that is raised while native code calls back into Python can be swallowed
    there. It is therefore raised again at the next report of progress.
    """

    def remember(number: int, frame: FrameType | None) -> None:
        global _interrupted
        _interrupted = True
        raise KeyboardInterrupt

    global _interrupted
    _interrupted = False
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, remember)


@contextmanager
def progress_bars() -> Iterator[ReportProgress]:
    """A bar on standard error for each thing that is done; nothing where there is no terminal."""
    tasks: dict[str, TaskID] = {}
    shown = ("loss", "sigma_mean", "sigma_spread", "kl", "speed")
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=err,
        disable=not err.is_terminal,
    ) as bar:

        def report(
            what: str, done: int, total: int, values: dict[str, float] | None = None, /
        ) -> None:
            if _interrupted:
                raise KeyboardInterrupt
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, figures="")
            text = " ".join(f"{k} {v:.3g}" for k, v in (values or {}).items() if k in shown)
            bar.update(tasks[what], completed=done, total=total, figures=text)
            if text and not err.is_terminal:
                err.print(f"{what} {done}/{total} {text}", highlight=False)

        yield report


@contextmanager
def encoding(model: Path, threads: int | None = None) -> Iterator[tuple[Encoder, ReportProgress]]:
    """An encoder by its card, and progress bars."""
    with (
        progress_bars() as progress,
        Encoder(model=model, serving=Serving(threads=threads)) as encoder,
    ):
        yield encoder, progress


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output, wide where that is no terminal."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 140
    console.print(table)


def show_figures(figures: dict[str, float]) -> None:
    """The last validation of a run; only the first of several processes has one."""
    if figures:
        rows = [(name, f"{value:.4f}") for name, value in figures.items()]
        show("held-out people", ("figure", "value"), rows)


def shown(interval: Interval, form: str = ".1%") -> str:
    """A figure with its interval."""
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def folder(path: Path) -> Path:
    """The folder, made if it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: it cannot be read.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the {what} {path}: {error}") from error
    return value


def validated(
    kind: type[Settings], settings: dict[str, Any], changes: list[str] | None
) -> Settings:
    """Settings with ``name=value`` (or ``group.name=value``) changes; values are JSON or text.

    Raises:
        TrainingError: a setting that cannot be used.
    """
    for item in changes or []:
        name, equals, text = item.partition("=")
        if not equals:
            raise TrainingError(f"--set wants name=value, not {item!r}")
        *groups, last = name.split(".")
        place = settings
        for group in groups:
            place = place.setdefault(group, {})
        try:
            place[RENAMED.get(last, last)] = json.loads(text)
        except ValueError:
            place[RENAMED.get(last, last)] = text
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise TrainingError(f"bad setting {where}: {first['msg']}") from error
