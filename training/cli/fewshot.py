"""``facestream-train fewshot``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from facestream.engines.cards import MODELS
from facestream.engines.options import Serving
from rich.console import Console
from rich.table import Table

from ..evaluation.fewshot import Row, Settings, few_shot
from ..evaluation.fewshot_pictures import embed_pictures, people_with, save_plot
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    folder,
    progress_bar,
    teller,
)


def fewshot(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    lfw: Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")] = (
        SHARED / "lfw"
    ),
    out: Annotated[Path, typer.Option(help="Folder for fewshot.json and fewshot.png.")] = Path(
        "runs/fewshot"
    ),
    draws: Annotated[int, typer.Option(min=2, help="Random draws.")] = 20,
    people: Annotated[int, typer.Option(min=2, help="People in each draw.")] = 50,
    samples: Annotated[int, typer.Option(min=1, help="Samples of each template.")] = 5,
    seed: Annotated[int, typer.Option(help="Of people, templates, degradations and noise.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Identify people from 1, 2 and 5 pictures, with and without samples of the VAE.

    Example: facestream-train fewshot --out runs/fewshot
    """
    from facestream.pipeline.recognition.encoder import Encoder

    settings = Settings(draws=draws, people=people, samples=samples, seed=seed)
    names, halves = people_with(lfw, more_than=max(settings.shots))
    with progress_bar() as bar, Encoder(model=model, serving=Serving(threads=threads)) as encoder:
        tell = teller(bar)
        pictures = embed_pictures(encoder, lfw, names, cache=CACHE, seed=seed, progress=tell)
        rows = few_shot(
            pictures.of(halves["test"]), pictures.of(halves["dev"]), settings, progress=tell
        )
        report: dict[str, Any] = {
            "model": encoder.model_id,
            "precision": encoder.precision,
            "people": {half: len(found) for half, found in halves.items()},
            "pictures": len(names),
            "median_sigma": [round(float(np.exp(np.median(v) / 2)), 3) for v in pictures.logvar],
            "settings": asdict(settings),
            "rows": [asdict(row) for row in rows],
        }
    write_json(folder(out) / "fewshot.json", report)
    save_plot(out / "fewshot.png", rows)
    _show(encoder.model_id, rows, settings)


def _show(model: str, rows: list[Row], settings: Settings) -> None:
    title = f"{model}: rank-1 among {settings.people}, {settings.draws} draws, 95 % intervals"
    table = Table("condition", "pictures", "method", "rank-1", "gain in points", title=title)
    for row in rows:
        rank, gain = row.rank_one, row.gain
        table.add_row(
            row.condition,
            str(row.shots),
            row.method,
            f"{rank.value:.2%} ({rank.low:.2%} to {rank.high:.2%})",
            ""
            if gain.low == gain.high == 0
            else f"{100 * gain.value:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})",
        )
    Console().print(table)
