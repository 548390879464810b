"""``facestream-train golden`` and ``ship``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from facestream.engines.cards import MODELS, read_card, verify
from facestream.pipeline.recognition.parity import SHIPPED, write_shipped

from ..export.golden import make_golden, write_golden
from .cohort import cohort
from .console import SHARED, DataOption
from .evaluate import evaluate
from .export import export

GOLDEN = Path("tests/pipeline/recognition/golden.npz")


def golden(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
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
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/vae/best.pt.")],
    data: DataOption = SHARED / "train",
    lfw: Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")] = (
        SHARED / "lfw"
    ),
    staging: Annotated[Path, typer.Option(help="Where it is made before it ships.")] = Path(
        "runs/ship"
    ),
    models: Annotated[Path, typer.Option(help="Folder of the models that ship.")] = MODELS,
    golden_file: Annotated[
        Path, typer.Option("--golden", help="The file of golden embeddings.")
    ] = GOLDEN,
    folds: Annotated[int, typer.Option(min=2, max=10, help="LFW's first folds only.")] = 10,
) -> None:
    """Make a checkpoint the encoder that ships, with all that belongs to it.

    Export, evaluation with thresholds and the limit of sigma, cohort, golden embeddings: all are
    made in the staging folder and moved only when everything is there.

    Example: facestream-train ship runs/vae/best.pt
    """
    staging.mkdir(parents=True, exist_ok=True)
    card = staging / "vae_encoder.json"
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
    for name in ("vae_encoder.onnx", "vae_cohort.npy", "vae_encoder.json", "vae_cohort.json"):
        _move(staging / name, models / name)
    _move(staging / "golden.npz", golden_file)
    if models == MODELS:
        _move(staging / "reference.npz", SHIPPED)
    typer.echo(f"{models}: {read_card(models / card.name).id} ships")


def _move(source: Path, target: Path) -> None:
    """Put a copy in place in one step; the staging folder keeps its own."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}")
    partial.write_bytes(source.read_bytes())
    partial.replace(target)
