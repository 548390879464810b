"""``facestream-train export``, ``cohort``, ``golden`` and ``ship``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from facestream.engines.cards import MODELS, read_card, verify
from facestream.engines.files import write_atomically
from facestream.pipeline.recognition.parity import SHIPPED, write_shipped

from ..evaluation.lfw import open_lfw
from ..export.card import make_card, write_card
from ..export.encoder_onnx import export_encoder
from ..export.generator_onnx import export_generator
from ..export.golden import make_golden, write_golden
from ..export.strangers import PEOPLE, PICTURES, make_cohort
from ..fit.checkpoint import load_checkpoint, load_encoder
from ..generation.fit_generator import is_generator, load_generator
from ..models.prior import LatentPrior
from ..record import write_json
from .console import (
    CACHE,
    ENCODER,
    LFW,
    TRAIN,
    CheckpointArgument,
    DataOption,
    FoldsOption,
    LfwOption,
    ModelOption,
    encoding,
    folder,
    read_json,
    show,
    shown,
)
from .evaluate import evaluate

GOLDEN = Path("tests/pipeline/recognition/golden.npz")


def export(
    checkpoint: CheckpointArgument,
    out: Annotated[
        Path, typer.Option(help="The ONNX file; its card goes beside it. A generator: its folder.")
    ] = Path("runs/export/vae_encoder.onnx"),
    report: Annotated[
        Path | None, typer.Option(help="A generator's report.json, for its card.")
    ] = None,
) -> None:
    """Write a checkpoint's encoder, or generator, as ONNX with a model card.

    An encoder's figures come with evaluate. A generator becomes vae_decoder, vae_appearance and
    vae_prior.npy in the folder of --out.

    Example: facestream-train export runs/vae/best.pt --out runs/export/vae_encoder.onnx
    """
    if is_generator(load_checkpoint(checkpoint)):
        _export_generator(checkpoint, out.parent if out.suffix else out, report)
        return
    encoder, config = load_encoder(checkpoint)
    folder(out.parent)
    cosine = export_encoder(encoder, out)
    metrics = {"parity_cosine": round(cosine, 6)}
    card = make_card(out, backbone=config.backbone, dim=config.dim, metrics=metrics)
    write_card(card, out.with_suffix(".json"))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, id {card.id}, cosine {cosine:.6f}")


def _export_generator(checkpoint: Path, out: Path, report: Path | None) -> None:
    metrics = {} if report is None else read_json(report, "report")
    generator, _ = load_generator(checkpoint)
    prior = LatentPrior.load(checkpoint.parent / "prior.npy", identity=generator.identity_dim)
    worst = export_generator(generator, prior, out, metrics=metrics)
    size = sum(path.stat().st_size for path in out.glob("vae_[adp]*"))
    typer.echo(f"{out}: generator, {size / 1e6:.1f} MB, pixels differ by at most {worst:.4f}")


def cohort(
    model: ModelOption = ENCODER,
    data: DataOption = TRAIN,
    lfw: LfwOption = LFW,
    out: Annotated[
        Path | None, typer.Option(help="The vectors (.npy). Default: vae_cohort beside the model.")
    ] = None,
    people: Annotated[int, typer.Option(min=0, help="Most labelled people.")] = PEOPLE,
    pictures: Annotated[int, typer.Option(min=0, help="Most unlabelled pictures.")] = PICTURES,
    folds: FoldsOption = 10,
    report: Annotated[Path, typer.Option(help="Folder for report.json.")] = Path("runs/cohort"),
) -> None:
    """Make the cohort of strangers of an encoder, set its thresholds and measure its gain.

    Example: facestream-train cohort
    """
    path = out or model.with_name("vae_cohort.npy")
    with encoding(model) as (encoder, progress):
        known = open_lfw(lfw, folds=folds, cache=CACHE, progress=progress)
        made = make_cohort(
            path,
            encoder,
            data,
            known,
            people=people,
            pictures=pictures,
            cache=CACHE,
            progress=progress,
        )
    card = read_card(model)
    if card.thresholds is not None:
        thresholds = card.thresholds.model_copy(update={"false_matches": made.cosine_matches})
        write_card(card.model_copy(update={"thresholds": thresholds}), model)
    table = [asdict(row) for row in made.rows]
    write_json(report / "report.json", {"card": made.card.model_dump(mode="json"), "rows": table})
    show(
        f"{made.card.id}: LFW, one picture enrolled, strangers never",
        ("probes", "score", "TAR at FAR 0.1 %", "TPIR at FPIR 1 %", "gain", "rank 1"),
        [
            (
                row.condition,
                row.scoring,
                shown(row.tar),
                shown(row.tpir),
                shown(row.gain, "+.1%"),
                f"{row.rank1.value:.1%}",
            )
            for row in made.rows
        ],
    )
    typer.echo(f"{path}: {made.members} strangers, {path.stat().st_size / 1e6:.1f} MB")


def golden(
    model: ModelOption = ENCODER,
    out: Annotated[Path, typer.Option(help="The file of golden embeddings.")] = GOLDEN,
    reference: Annotated[
        Path | None, typer.Option(help="Write the parity gate's reference here, too.")
    ] = None,
) -> None:
    """Renew the golden embeddings that a test compares the shipped encoder with.

    Example: facestream-train golden
    """
    if reference is not None:
        write_shipped(verify(read_card(model), model.parent), reference)
    found = make_golden(model)
    write_golden(found, out)
    typer.echo(f"{out}: {len(found.mu)} embeddings of {found.model_id}")


def ship(
    checkpoint: CheckpointArgument,
    data: DataOption = TRAIN,
    lfw: LfwOption = LFW,
    staging: Annotated[Path, typer.Option(help="Where it is made before it ships.")] = Path(
        "runs/ship"
    ),
    models: Annotated[Path, typer.Option(help="Folder of the models that ship.")] = MODELS,
    golden_file: Annotated[
        Path, typer.Option("--golden", help="The file of golden embeddings.")
    ] = GOLDEN,
    folds: FoldsOption = 10,
) -> None:
    """Make a checkpoint the encoder that ships, with all that belongs to it.

    Export, evaluation with thresholds and the limit of sigma, cohort, golden embeddings: all are
    made in the staging folder and copied only when everything is there.

    Example: facestream-train ship runs/vae/best.pt
    """
    card = folder(staging) / "vae_encoder.json"
    export(checkpoint, out=card.with_suffix(".onnx"))
    evaluate(model=card, lfw=lfw, out=staging, folds=folds, write=True, plots=True)
    cohort(
        model=card,
        data=data,
        lfw=lfw,
        out=staging / "vae_cohort.npy",
        folds=folds,
        report=staging / "cohort",
    )
    golden(model=card, out=staging / "golden.npz", reference=staging / "reference.npz")
    # The cards go last: until then the old ones name the old files' checksums.
    names = ("vae_encoder.onnx", "vae_cohort.npy", "vae_encoder.json", "vae_cohort.json")
    targets = {name: models / name for name in names} | {"golden.npz": golden_file}
    if models == MODELS:
        targets["reference.npz"] = SHIPPED
    for name, target in targets.items():
        write_atomically(target, (staging / name).read_bytes())
    typer.echo(f"{models}: {read_card(models / card.name).id} ships")
