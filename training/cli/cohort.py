"""``facestream-train cohort``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from facestream.engines.cards import MODELS, read_card
from facestream.pipeline.recognition.cohort import Cohort
from facestream.pipeline.recognition.uncertainty import normalise
from rich.console import Console
from rich.table import Table

from ..data.faces import read_folder, split_identities
from ..evaluation.embeddings import Embedded, embed_rows
from ..evaluation.false_matches import false_matches
from ..evaluation.normalisation import (
    Row,
    as_metrics,
    calibrate,
    compare,
    limit_metrics,
    normalised_limit,
)
from ..evaluation.protocol import Interval
from ..export.card import write_card
from ..export.cohort import (
    PEOPLE,
    PICTURES,
    TOP,
    as_cohort,
    choose_members,
    make_cohort_card,
    write_vectors,
)
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    DataOption,
    folder,
    progress_bar,
    teller,
)
from .lfw import embed_lfw, embed_spoilt, open_lfw


def cohort(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    data: DataOption = SHARED / "train",
    lfw: Annotated[
        Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt, for the thresholds.")
    ] = SHARED / "lfw",
    out: Annotated[
        Path | None, typer.Option(help="The vectors (.npy). Default: vae_cohort beside the model.")
    ] = None,
    people: Annotated[int, typer.Option(min=0, help="Most labelled people.")] = PEOPLE,
    pictures: Annotated[int, typer.Option(min=0, help="Most unlabelled pictures.")] = PICTURES,
    folds: Annotated[int, typer.Option(min=2, max=10, help="LFW's first folds only.")] = 10,
    report: Annotated[Path, typer.Option(help="Folder for report.json.")] = Path("runs/cohort"),
) -> None:
    """Make the cohort of strangers of an encoder, set its thresholds and measure what it is worth.

    Example: facestream-train cohort
    """
    from facestream.pipeline.recognition.encoder import Encoder

    path = out or model.with_name("vae_cohort.npy")
    members = choose_members(
        split_identities(read_folder(data))[0], people=people, pictures=pictures
    )
    with progress_bar() as bar, Encoder(model=model) as encoder:
        tell = teller(bar)
        known = open_lfw(lfw, folds=folds, tell=tell)
        found = embed_rows(encoder, data, members, cache=CACHE, progress=tell)
        write_vectors(path, found.mu)
        mu, _ = embed_lfw(encoder, known, tell=tell)
        spoilt = embed_spoilt(encoder, known, tell=tell)
        strangers = _with_typical(as_cohort(path, encoder=encoder.model_id, typical=0.0), mu)
    rows = compare(known.pairs, mu, spoilt[0], strangers.vectors, top=TOP)
    thresholds = calibrate(known.pairs, mu, strangers).model_copy(
        update={"false_matches": false_matches(found.rows, found.mu, strangers)}
    )
    limit = normalised_limit(known.pairs, mu, spoilt, strangers, thresholds.similarity)
    card = make_cohort_card(
        path,
        encoder=encoder.model_id,
        shape=(len(members), mu.shape[1]),
        typical=strangers.typical,
        metrics={
            **limit_metrics(limit),
            **as_metrics(rows),
            "members": {
                name: sum(row.dataset == name for row in members)
                for name in dict.fromkeys(row.dataset for row in members)
            },
        },
        thresholds=thresholds,
    )
    write_card(card, path.with_suffix(".json"))
    _tell_encoder(model, found)
    write_json(
        folder(report) / "report.json",
        {"card": card.model_dump(mode="json"), "rows": [asdict(row) for row in rows]},
    )
    _show(card.id, rows)
    typer.echo(f"{path}: {len(members)} strangers, {path.stat().st_size / 1e6:.1f} MB")


def _with_typical(cohort: Cohort, mu: np.ndarray) -> Cohort:
    """The cohort that leaves LFW's similarities, on average, as they are."""
    return replace(cohort, typical=round(float(cohort.means(normalise(mu)).mean()), 4))


def _tell_encoder(model: Path, found: Embedded) -> None:
    """The same of plain cosines, for the encoder's card; one without thresholds stays as it is."""
    card = read_card(model)
    if card.thresholds is None:
        return
    known = {"false_matches": false_matches(found.rows, found.mu, None)}
    thresholds = card.thresholds.model_copy(update=known)
    write_card(card.model_copy(update={"thresholds": thresholds}), model)


def _show(name: str, rows: list[Row]) -> None:
    table = Table(
        "probes",
        "score",
        "TAR at FAR 0.1 %",
        "TPIR at FPIR 1 %",
        "gain",
        "rank 1",
        title=f"{name}: LFW, one picture enrolled, strangers never",
    )
    for row in rows:
        table.add_row(
            row.condition,
            row.scoring,
            _interval(row.tar),
            _interval(row.tpir),
            _interval(row.gain, "+.1%"),
            f"{row.rank1.value:.1%}",
        )
    Console().print(table)


def _interval(figure: Interval, form: str = ".1%") -> str:
    return f"{figure.value:{form}}\n({figure.low:{form}}…{figure.high:{form}})"
