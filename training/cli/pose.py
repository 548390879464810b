"""``facestream-train pose``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.engines.cards import MODELS
from facestream.engines.options import Serving
from rich.console import Console
from rich.table import Table

from ..data.faces import read_folder, split_identities
from ..data.teacher import teacher_targets
from ..errors import DataError
from ..evaluation.embed import counted
from ..evaluation.pose import PoseRow, measure_pose, read_turns
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    DataOption,
    TeacherOption,
    folder,
    progress_bar,
    teller,
)


def pose(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    data: DataOption = SHARED / "train",
    teacher: TeacherOption = SHARED / "models/face_recognition_sface_2021dec.onnx",
    out: Annotated[Path, typer.Option(help="Folder for pose.json.")] = Path("runs/evaluate"),
    percent: Annotated[
        int, typer.Option(min=1, max=50, help="Share of people that the run held out.")
    ] = 8,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Tell people held out of training apart across pose, beside the teacher.

    Example: facestream-train pose
    """
    from facestream.pipeline.recognition.encoder import Encoder
    from facestream.pipeline.recognition.uncertainty import normalise

    from ..evaluation.embeddings import embed_rows

    _, held = split_identities(read_folder(data), percent=percent)
    rows = [row for row in held if row.identity is not None and row.dataset != "celeba_small"]
    if len(rows) < 2:
        raise DataError(f"{data} has no labelled people among the {percent} % held out")
    with progress_bar() as bar, Encoder(model=model, serving=Serving(threads=threads)) as encoder:
        tell = teller(bar)
        detected = counted(tell, "detect", len(rows))
        turns = read_turns(data, rows, cache=CACHE, threads=threads, progress=detected)
        ours = embed_rows(encoder, data, rows, cache=CACHE, progress=tell)
        plain, mirror = teacher_targets(
            data, rows, teacher=teacher, cache=CACHE, threads=threads or 2
        )
        person = [row.identity or "" for row in rows]
        contenders = {
            encoder.model_id: measure_pose(normalise(ours.mu), person, turns),
            "teacher": measure_pose(normalise(plain), person, turns),
            "teacher with mirror image": measure_pose(normalise(plain + mirror), person, turns),
        }
    report = {name: [asdict(row) for row in table] for name, table in contenders.items()}
    write_json(folder(out) / "pose.json", report)
    _show(contenders, len(rows), len(set(person)), int(np.isnan(turns).sum()))


def _show(contenders: dict[str, list[PoseRow]], pictures: int, people: int, lost: int) -> None:
    table = Table(
        "pairs",
        "genuine",
        *contenders,
        title=f"TAR at FAR 0.1 %: {pictures} pictures of {people} people not trained on "
        f"({lost} without a detected face left out)",
    )
    for rows in zip(*contenders.values(), strict=True):
        cells = [f"{r.tar.value:.1%} ({r.tar.low:.1%} to {r.tar.high:.1%})" for r in rows]
        table.add_row(rows[0].kind, str(rows[0].genuine), *cells)
    Console().print(table)
