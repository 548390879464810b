"""``facestream-train prepare``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ..data.prepare import PrepareSettings, prepare_set
from ..errors import DataError
from .console import CACHE, ENCODER, ThreadsOption, err, progress_bars, show


class LabelSource(StrEnum):
    """What names the person of a picture."""

    FOLDER = "folder"
    PREFIX = "prefix"
    NONE = "none"


class Zips(StrEnum):
    """What to do with pictures in zips."""

    ALIGNED = "aligned"
    DETECT = "detect"


class Which(StrEnum):
    """Which faces of an unlabelled picture to take."""

    MAIN = "main"
    ALL = "all"


def prepare(
    inputs: Annotated[list[Path], typer.Argument(help="Folders, zips and videos.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>.zip and its list.")] = Path(
        "runs/data"
    ),
    name: Annotated[
        str | None, typer.Option(help="Name of the set; the first input's when left out.")
    ] = None,
    label: Annotated[
        LabelSource,
        typer.Option(help="Who it is: person/picture.jpg, person_01.jpg, or nobody is named."),
    ] = LabelSource.FOLDER,
    zips: Annotated[
        Zips, typer.Option(help="Zips hold aligned 128×128 faces, or pictures to search.")
    ] = Zips.ALIGNED,
    faces: Annotated[
        Which, typer.Option(help="Of an unlabelled picture; of a video all are taken.")
    ] = Which.MAIN,
    duplicates: Annotated[
        float, typer.Option(help="Cosine from which pictures are the same; 2 keeps all.")
    ] = 0.9,
    exclude: Annotated[
        Path | None, typer.Option(help="Evaluation set (folder or zip) to keep unseen.")
    ] = None,
    exclude_cosine: Annotated[
        float, typer.Option(help="Cosine to one of its people from which a face is left out.")
    ] = 0.5,
    min_face: Annotated[int, typer.Option(help="Smallest face, pixels.")] = 40,
    min_score: Annotated[float, typer.Option(help="Least score of the detector.")] = 0.9,
    every: Annotated[float, typer.Option(help="Seconds between frames of a video.")] = 0.5,
    model: Annotated[Path, typer.Option(help="Card of the encoder that compares faces.")] = ENCODER,
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a set of that name.")] = False,
) -> None:
    """Make a training set: detect, align, drop duplicates and evaluation people, list.

    Example: facestream-train prepare photos clip.mp4 --name family
    """
    # The card's path is this installation's, not a setting of the set: its id is recorded.
    own = {} if model == ENCODER else {"model": model}
    settings = _validated(
        {
            "label": label.value,
            "zips": zips.value,
            "faces": faces.value,
            "duplicates": duplicates,
            "exclude": exclude,
            "exclude_cosine": exclude_cosine,
            "min_face": min_face,
            "min_score": min_score,
            "every": every,
            "threads": threads,
            "cache": CACHE,
            **own,
        }
    )
    with progress_bars() as progress:
        manifest = prepare_set(
            inputs,
            out,
            name or inputs[0].resolve().stem,
            settings=settings,
            existing="replace" if force else "refuse",
            progress=progress,
        )
    _show(out, manifest)


def _validated(values: dict[str, Any]) -> PrepareSettings:
    try:
        return PrepareSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise DataError(f"bad value of {option}: {first['msg']}") from error


def _show(out: Path, manifest: dict[str, Any]) -> None:
    counted = (
        "pictures",
        "identities",
        "identities_with_one_picture",
        "unlabelled",
        "pictures_with_several_faces",
    )
    rows = [(what.replace("_", " "), str(manifest[what])) for what in counted]
    rows += [(f"skipped: {reason}", str(n)) for reason, n in manifest["skipped"].items()]
    show(str(out / f"{manifest['name']}.zip"), ("", ""), rows)
    if manifest["skipped"]:
        skipped = out / f"{manifest['name']}.skipped.csv"
        err.print(f"skipped pictures are listed in {skipped}", soft_wrap=True)
