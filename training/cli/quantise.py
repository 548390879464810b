"""``facestream-train quantise``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from facestream.engines.cards import MODELS, read_card, verify
from facestream.engines.openvino import describe
from facestream.pipeline.recognition.parity import COSINE
from facestream.pipeline.recognition.parity_faces import gate_faces
from numpy.typing import NDArray

from ..data.faces import FaceZips, read_folder, split_identities
from ..evaluation import evaluate as evaluation
from ..evaluation.lfw import read_crops, read_pairs
from ..export.quantise import Closeness, Quantiser, closeness
from ..fit.checkpoint import write_json
from .console import (
    CACHE,
    SHARED,
    DataOption,
    progress_bar,
    teller,
)

# Pictures are the template with this margin on each side.
_MARGIN = 8
_RUNS = 10


def quantise(
    model: Annotated[Path, typer.Option(help="Model card (.json) beside its ONNX file.")] = MODELS
    / "vae_encoder.json",
    data: DataOption = SHARED / "train",
    lfw: Annotated[Path, typer.Option(help="Folder of lfw_grey.zip and pairs.txt.")] = (
        SHARED / "lfw"
    ),
    out: Annotated[Path, typer.Option(help="The figures.")] = Path("runs/quantise.json"),
    calibration: Annotated[int, typer.Option(min=32, help="Faces to calibrate with.")] = 300,
    held_out: Annotated[int, typer.Option(min=64, help="Faces to measure on.")] = 2000,
    folds: Annotated[int, typer.Option(min=2, max=10, help="LFW's first folds only.")] = 10,
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
    calibrating, held = _faces(data, calibration, held_out)
    with progress_bar() as bar:
        tell = teller(bar)
        maker = Quantiser(path, calibrating, progress=tell)
        plain, whole = maker.float_model(), maker.quantise()
        sensitivity = maker.sensitivity(held)
        gate = np.ascontiguousarray(gate_faces()[..., ::-1])
        kept, mixed = maker.search(sensitivity, np.concatenate([gate, held[:64]]), least=COSINE)
        variants: dict[str, tuple[Any, str]] = {
            "float32": (plain, "f32"),
            "bfloat16": (plain, "bf16"),
            "int8": (whole, "bf16"),
            "int8 and floating point": (mixed, "bf16"),
        }
        report: dict[str, Any] = {
            "model": card.id,
            "machine": describe(),
            "calibration_faces": len(calibrating),
            "held_out_faces": len(held),
            "kept_in_floating_point": kept,
            "layers": len(sensitivity),
            "lowest_cosine_with_one_layer_in_int8": sensitivity,
            "faces_per_second": _speed(maker, variants, held),
            "variants": {},
        }
        exact = {"gate": maker.run(plain, gate), "held_out": maker.run(plain, held)}
        for name, (variant, precision) in variants.items():
            close = {
                "gate": closeness(maker.run(variant, gate, precision=precision), exact["gate"]),
                "held_out": closeness(
                    maker.run(variant, held, precision=precision), exact["held_out"]
                ),
            }
            report["variants"][name] = {key: asdict(value) for key, value in close.items()}
            write_json(out, report)
            _show(name, close)
        _lfw(maker, variants, lfw, folds, report)
    write_json(out, report)
    if not keep:
        return
    # The search saw the gate's faces; the held-out ones it did not.
    lowest = report["variants"]["int8 and floating point"]["held_out"]["cosine_min"]
    if len(kept) == len(sensitivity) or lowest < COSINE:
        typer.echo(f"not kept: the lowest cosine on held-out faces is {lowest:.5f}")
    else:
        typer.echo(f"kept: {maker.save(mixed, path)}")


def _faces(
    data: Path, calibration: int, held_out: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Training faces to calibrate with, and faces of people who are not among them."""
    train, held = split_identities(read_folder(data))
    rng = np.random.default_rng(0)
    zips = FaceZips(data)
    try:
        parts = [
            np.stack(
                [
                    zips.read(rows[i])[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
                    for i in rng.choice(len(rows), min(count, len(rows)), replace=False)
                ]
            )
            for rows, count in ((train, calibration), (held, held_out))
        ]
    finally:
        zips.close()
    return parts[0], parts[1]


def _speed(
    maker: Quantiser, variants: dict[str, tuple[Any, str]], faces: NDArray[np.uint8]
) -> dict[str, dict[str, float]]:
    """Faces per second by batch: medians, the variants taken in turns."""
    found: dict[str, dict[str, float]] = {}
    requests = {name: maker.request(*variant) for name, variant in variants.items()}
    for batch in (1, 8, 32):
        feed = np.ascontiguousarray(faces[:batch].transpose(0, 3, 1, 2), np.float32)
        times: dict[str, list[float]] = {name: [] for name in requests}
        for _ in range(_RUNS + 2):
            for name, request in requests.items():
                start = time.perf_counter()
                request.infer([feed])
                times[name].append(time.perf_counter() - start)
        for name, taken in times.items():
            speed = batch / float(np.median(taken[2:]))
            found.setdefault(name, {})[f"batch {batch}"] = round(speed, 1)
    return found


def _lfw(
    maker: Quantiser,
    variants: dict[str, tuple[Any, str]],
    lfw: Path,
    folds: int,
    report: dict[str, Any],
) -> None:
    full = read_pairs(lfw / "pairs.txt")
    crops = read_crops(lfw, full.names, cache=CACHE)
    pairs = full.folds(folds)
    place = {name: i for i, name in enumerate(full.names)}
    rgb = np.ascontiguousarray(crops.faces[[place[name] for name in pairs.names]][..., ::-1])
    for name, (variant, precision) in variants.items():
        mu, _ = maker.run(variant, rgb, precision=precision)
        found = evaluation.verify(pairs, mu, not_found=crops.not_found)
        report["variants"][name]["lfw_accuracy"] = round(found.accuracy.value, 4)
        report["variants"][name]["lfw_folds"] = folds
        typer.echo(f"{name}: LFW {found.accuracy.value:.2%}")


def _show(name: str, close: dict[str, Closeness]) -> None:
    for where, one in close.items():
        typer.echo(
            f"{name}, {where}: cosine {one.cosine_min:.5f} at the least, "
            f"{one.cosine_median:.5f} median; sigma's rank {one.sigma_rank:.4f}"
        )
