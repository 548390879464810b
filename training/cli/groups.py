"""``facestream-train groups``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from facestream.engines.cards import MODELS, ModelCard
from facestream.pipeline.recognition.cohort import load_cohort
from rich.console import Console
from rich.table import Table

from ..data.faces import read_folder, split_identities
from ..errors import DataError, TrainingError
from ..evaluation.attributes import attributes_of
from ..evaluation.embeddings import embed_rows
from ..evaluation.groups import (
    GroupRow,
    Limits,
    NamedRow,
    measure_groups,
    measure_named,
    save_plot,
    summary,
)
from ..evaluation.protocol import Interval
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    DataOption,
    folder,
    progress_bar,
    teller,
)


def groups(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    cohort: Annotated[
        Path | None, typer.Option(help="The cohort's card. Default: vae_cohort beside the model.")
    ] = None,
    data: DataOption = SHARED / "train",
    out: Annotated[Path, typer.Option(help="Folder for report.json and groups.png.")] = Path(
        "runs/groups"
    ),
) -> None:
    """False matches and doubt by age group, gender and origin, on pictures held out of training.

    Example: facestream-train groups
    """
    from facestream.pipeline.recognition.encoder import Encoder

    held = split_identities(read_folder(data))[1]
    labelled = [row for row in held if row.dataset == "utkface" and attributes_of(row).gender]
    people = [row for row in held if row.identity is not None]
    if not labelled:
        raise DataError(f"no held-out picture in {data} has its groups in its name (UTKFace)")
    with progress_bar() as bar, Encoder(model=model) as encoder:
        strangers = load_cohort(encoder.model_id, card=cohort or model.with_name("vae_cohort.json"))
        limits = _limits(encoder.card, strangers.card)
        tell = teller(bar)
        found = embed_rows(encoder, data, labelled, cache=CACHE, progress=tell)
        named = embed_rows(encoder, data, people, cache=CACHE, progress=tell)
    rows = measure_groups(found, strangers, limits)
    known = measure_named(named, strangers, limits) if people else []
    lines = summary(rows, known)
    write_json(
        folder(out) / "report.json",
        {
            "model": encoder.model_id,
            "cohort": strangers.card.id,
            "thresholds": asdict(limits),
            "groups": [asdict(row) for row in rows],
            "named": [asdict(row) for row in known],
            "summary": lines,
        },
    )
    save_plot(rows, out / "groups.png")
    _show(encoder.model_id, rows, known)
    for line in lines:
        typer.echo(line)


def _limits(encoder: ModelCard, cohort: ModelCard) -> Limits:
    if encoder.thresholds is None or cohort.thresholds is None:
        raise TrainingError(
            "the cards have no thresholds; run 'facestream-train evaluate --write-card' and "
            "'facestream-train cohort' first"
        )
    return Limits(encoder.thresholds.similarity, cohort.thresholds.similarity)


def _show(name: str, rows: Sequence[GroupRow], named: Sequence[NamedRow]) -> None:
    table = Table(
        "group", "pictures", "pairs", "left out", "FMR, cosine", "FMR, normalised", "sigma",
        title=f"{name}: false matches within groups of UTKFace (nominal 0.10 %)",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.group,
            str(row.pictures),
            f"{row.pairs:,}",
            str(row.dropped),
            _interval(row.fmr_cosine),
            _interval(row.fmr_normalised),
            f"{row.sigma[1]:.2f} ({row.sigma[0]:.2f}…{row.sigma[2]:.2f})",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)
    people = Table("score", "people", "genuine pairs match", "impostor pairs match")
    for one in named:
        people.add_row(one.scoring, str(one.people), _interval(one.tmr), _interval(one.fmr))
    console.print(people)


def _interval(rate: Interval) -> str:
    return f"{rate.value:.2%} ({rate.low:.2%}…{rate.high:.2%})"
