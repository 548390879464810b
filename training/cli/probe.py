"""``facestream-train probe``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.engines.cards import MODELS
from facestream.pipeline.recognition.uncertainty import normalise
from rich.console import Console
from rich.table import Table

from ..data.faces import FaceRow, read_folder
from ..errors import DataError
from ..evaluation.attributes import NO_EXPRESSION, Attributes, attributes_of
from ..evaluation.embeddings import Embedded, embed_rows
from ..evaluation.probe import ProbeResult, meaning, save_plot
from ..evaluation.probe import probe as run_probe
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    DataOption,
    folder,
    progress_bar,
    teller,
)

ATTRIBUTES = ("gender", "age", "race")


def probe(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    data: DataOption = SHARED / "train",
    out: Annotated[Path, typer.Option(help="Folder for report.json and probe.png.")] = Path(
        "runs/probe"
    ),
    limit: Annotated[int, typer.Option(min=20, help="Most pictures of each set.")] = 4000,
) -> None:
    """Read age group, gender and race out of frozen embeddings with a linear probe.

    Example: facestream-train probe --limit 2000
    """
    from facestream.pipeline.recognition.encoder import Encoder

    rows = _labelled(read_folder(data), limit)
    if not rows:
        raise DataError(f"no picture in {data} has an attribute in its name (UTKFace, SCUT)")
    with progress_bar() as bar, Encoder(model=model) as encoder:
        found = embed_rows(encoder, data, rows, cache=CACHE, progress=teller(bar))
        name = encoder.model_id
    results = _probe_all(found)
    lines = [*meaning(results), NO_EXPRESSION]
    write_json(
        folder(out) / "report.json",
        {"model": name, "results": [asdict(r) for r in results], "meaning": lines},
    )
    save_plot(results, out / "probe.png")
    _show(name, results)
    for line in lines[len(results) :]:
        typer.echo(line)


def _labelled(rows: Sequence[FaceRow], limit: int) -> list[FaceRow]:
    """At most ``limit`` labelled pictures of each set, always the same ones."""
    chosen: list[FaceRow] = []
    for name in dict.fromkeys(row.dataset for row in rows):
        some = [r for r in rows if r.dataset == name and attributes_of(r) != Attributes()]
        order = np.random.default_rng(0).permutation(len(some))[:limit]
        chosen += [some[i] for i in sorted(order)]
    return chosen


def _probe_all(found: Embedded) -> list[ProbeResult]:
    latents = {
        "mu": normalise(found.mu),
        "mu and sigma": np.concatenate([normalise(found.mu), found.logvar], axis=1),
    }
    results = []
    for dataset in dict.fromkeys(row.dataset for row in found.rows):
        for attribute in ATTRIBUTES:
            labels = [
                getattr(attributes_of(row), attribute) if row.dataset == dataset else None
                for row in found.rows
            ]
            there = [i for i, label in enumerate(labels) if label is not None]
            if not there:
                continue
            results += [
                run_probe(
                    values[there],
                    [str(labels[i]) for i in there],
                    attribute=f"{attribute} ({dataset})",
                    latent=latent,
                )
                for latent, values in latents.items()
            ]
    return results


def _show(name: str, results: Sequence[ProbeResult]) -> None:
    table = Table(
        "attribute", "latent", "pictures", "accuracy", "majority", "mean recall", "chance",
        title=f"linear probe of {name}",
    )  # fmt: skip
    for r in results:
        accuracy = f"{r.accuracy.value:.1%} ({r.accuracy.low:.1%}…{r.accuracy.high:.1%})"
        balanced = f"{r.balanced.value:.1%} ({r.balanced.low:.1%}…{r.balanced.high:.1%})"
        table.add_row(
            r.attribute,
            r.latent,
            str(r.pictures),
            accuracy,
            f"{r.majority:.1%}",
            balanced,
            f"{1 / len(r.classes):.1%}",
        )
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)
