"""``facestream-train export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..export.card import make_card, write_card
from ..export.encoder import export_encoder
from ..fit.checkpoint import load_encoder


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/vae/best.pt.")],
    out: Annotated[Path, typer.Option(help="The ONNX file; its card goes beside it.")] = Path(
        "runs/export/vae_encoder.onnx"
    ),
) -> None:
    """Write a checkpoint's encoder as ONNX with a model card (figures come with evaluate).

    Example: facestream-train export runs/vae/best.pt --out runs/export/vae_encoder.onnx
    """
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
