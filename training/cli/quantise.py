"""``facestream-train quantise``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from facestream.engines.cards import read_card, verify
from facestream.pipeline.recognition.parity import COSINE

from ..evaluation.lfw import open_lfw
from ..export.quantise import MIXED, Quantiser, draw_faces, measure_variants
from ..record import write_json
from .console import (
    CACHE,
    ENCODER,
    LFW,
    TRAIN,
    DataOption,
    FoldsOption,
    LfwOption,
    ModelOption,
    progress_bars,
)


def quantise(
    model: ModelOption = ENCODER,
    data: DataOption = TRAIN,
    lfw: LfwOption = LFW,
    out: Annotated[Path, typer.Option(help="The figures.")] = Path("runs/quantise.json"),
    calibration: Annotated[int, typer.Option(min=32, help="Faces to calibrate with.")] = 300,
    held_out: Annotated[int, typer.Option(min=64, help="Faces to measure on.")] = 2000,
    folds: FoldsOption = 10,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the network where held-out faces agree, too.")
    ] = False,
) -> None:
    """Make an int8 version of an encoder, and measure it beside float32 and bfloat16.

    Without --keep nothing but the figures is written. The engines use what is kept only after it
    has passed the parity gate on the machine they run on.

    Example: facestream-train quantise --keep
    """
    card = read_card(model)
    path = verify(card, model.parent)
    calibrating, held = draw_faces(data, calibration, held_out)
    with progress_bars() as progress:
        maker = Quantiser(path, calibrating, progress=progress)
        known = open_lfw(lfw, folds=folds, cache=CACHE, progress=progress)
        report, mixed = measure_variants(maker, held, known, least=COSINE)
    write_json(out, {"model": card.id, "calibration_faces": len(calibrating), **report})
    for name, figures in report["variants"].items():
        for where in ("gate", "held_out"):
            one = figures[where]
            typer.echo(
                f"{name}, {where}: cosine {one['cosine_min']:.5f} at the least, "
                f"{one['cosine_median']:.5f} median; sigma's rank {one['sigma_rank']:.4f}"
            )
        typer.echo(f"{name}: LFW {figures['lfw_accuracy']:.2%}")
    if not keep:
        return
    # The search saw the gate's faces; the held-out ones it did not.
    lowest = report["variants"][MIXED]["held_out"]["cosine_min"]
    if len(report["kept_in_floating_point"]) == report["layers"] or lowest < COSINE:
        typer.echo(f"not kept: the lowest cosine on held-out faces is {lowest:.5f}")
    else:
        typer.echo(f"kept: {maker.save(mixed, path)}")
