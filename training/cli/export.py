"""``facestream-train export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError
from ..export.card import make_card, write_card
from ..export.encoder import export_encoder
from ..export.generator import export_generator
from ..fit.checkpoint import load_checkpoint, load_encoder
from ..generation.prior import LatentPrior
from ..generation.run import load_generator
from .generator import is_generator


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/vae/best.pt.")],
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
    out.parent.mkdir(parents=True, exist_ok=True)
    cosine = export_encoder(encoder, out)
    card = make_card(
        out,
        backbone=config.backbone,
        dim=config.dim,
        metrics={"parity_cosine": round(cosine, 6)},
        thresholds=None,
    )
    write_card(card, out.with_suffix(".json"))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, id {card.id}, cosine {cosine:.6f}")


def _export_generator(checkpoint: Path, out: Path, report: Path | None) -> None:
    metrics: dict[str, object] = {}
    if report is not None:
        try:
            metrics = json.loads(report.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the report {report}: {error}") from error
    generator, _ = load_generator(checkpoint)
    prior = LatentPrior.load(checkpoint.parent / "prior.npy", identity=generator.identity_dim)
    worst = export_generator(generator, prior, out, metrics=metrics)
    size = sum(path.stat().st_size for path in out.glob("vae_[adp]*"))
    typer.echo(f"{out}: generator, {size / 1e6:.1f} MB, pixels differ by at most {worst:.4f}")
