"""``compare``: trains each contender on the same pictures, measures it, keeps what is done."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.face_sets import make_manifest, write_manifest
from ..errors import TrainingError
from ..fit.checkpoint import load_checkpoint, restore_module
from ..fit.loop import LAST, RunSchedule, run_task
from ..fit.prepared import TrainingData, prepare
from ..fit.run import start_fabric
from ..generation.generator_views import read_held_out
from ..generation.metrics import frechet_distance
from ..models.cost import count_macs, count_parameters
from ..progress import ReportProgress, silent
from ..record import git_revision, write_json
from .contender_task import VaeTask, make_task
from .contenders import CONTENDERS, CompareConfig, Contender, chosen
from .measure import (
    Embed,
    draw_samples,
    measure_lfw,
    measure_reconstruction,
    measure_samples,
    measure_speed,
    reconstruct,
    teacher_embedding,
    write_encoder,
)
from .networks import ContenderModule

RESULT = "result.json"
PICTURES = "pictures.npz"
SHOWN = 8


class Result(BaseModel):
    """What is known of a contender; None where it has no such thing.

    Attributes:
        config: the settings it was made with.
        pictures: seen in training. train_speed: pictures/s, with all that ran beside it.
        parameters: of encoder and decoder. macs: of the encoder for one face.
        lfw: accuracy, and its 95 % interval. tar: at a false accept rate of 0.1 %.
        psnr, ssim, cosine: of reconstructions from mu (held-out people).
        frechet: of samples to real training faces, on the teacher's embeddings.
        faces_per_second: of the encoder, measured in one run with the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    config: CompareConfig
    pictures: int
    train_speed: float
    parameters_encoder: int | None
    parameters_decoder: int
    macs: int | None
    lfw: float | None = None
    lfw_95: tuple[float, float] | None = None
    tar: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    cosine: float | None = None
    frechet: float
    faces_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class DesignComparison:
    """All results, and what is the same for all.

    Attributes:
        results: in the order asked for.
        floor: Fréchet distance of real held-out faces to the same reference: what samples could
            reach at best with about as many pictures.
        held: how many held-out faces that is.
        revision: git commit.
    """

    results: list[Result]
    floor: float
    held: int
    revision: str


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """What all contenders are trained on and measured with."""

    config: CompareConfig
    fabric: Fabric
    data: TrainingData
    held: NDArray[np.uint8]
    embed: Embed
    progress: ReportProgress


def compare(
    config: CompareConfig, out: Path, *, progress: ReportProgress = silent
) -> DesignComparison:
    """Train and measure the contenders; those that ``out`` has results of are not run again.

    Writes a folder a contender to ``out``: checkpoint, curve, ``encoder.onnx`` with its card,
    ``pictures.npz`` and ``result.json``. A contender that was interrupted goes on.

    Raises:
        TrainingError: an unknown contender, or ``out`` holds results of other settings.
        DataError: no usable data.
    """
    names = chosen(config)
    out.mkdir(parents=True, exist_ok=True)
    first = next(iter(names.values()))
    fabric = start_fabric(config.as_fit(first))
    data = prepare(config.as_fit(first), progress)
    write_manifest(out / "manifest.json", make_manifest(config.data, [*data.train, *data.held]))
    rows = [data.held[i] for i in _spread(len(data.held), config.faces)]
    bench = _Bench(
        config=config,
        fabric=fabric,
        data=data,
        held=read_held_out(config.data, rows)[0],
        embed=teacher_embedding(config.teacher, threads=config.threads),
        progress=progress,
    )
    results = []
    for name in names:
        result = _kept(out / name / RESULT, config)
        results.append(result or _run(bench, name, CONTENDERS[name], out / name))
    # As many as the samples: the distance grows when there are fewer.
    real = _spread(len(data.held), config.samples)
    cards = {r.name: out / r.name / "encoder.json" for r in results if r.macs is not None}
    speeds = measure_speed(cards, threads=config.threads) if cards else {}
    return DesignComparison(
        results=[r.model_copy(update={"faces_per_second": speeds.get(r.name)}) for r in results],
        floor=measure_floor(data, real),
        held=len(real),
        revision=git_revision(),
    )


def measure_floor(data: TrainingData, rows: list[int]) -> float:
    """Fréchet distance between the teacher's embeddings of held-out and of training faces."""
    return float(frechet_distance(data.held_targets[rows], data.train_targets))


def _spread(count: int, wanted: int) -> list[int]:
    """Evenly spaced indices."""
    places = np.linspace(0, count - 1, min(count, wanted))
    return [int(place) for place in places.round()]


def _kept(path: Path, config: CompareConfig) -> Result | None:
    """A contender's result of an earlier run.

    Raises:
        TrainingError: it was made with other settings, or is damaged.
    """
    if not path.is_file():
        return None
    try:
        result = Result.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise TrainingError(f"{path} is damaged or of another version; delete it") from error
    # Who else takes part, and how many threads there are, changes nothing about this one.
    free = {"contenders", "threads", "workers", "lfw", "cache"}
    if result.config.model_dump(exclude=free) != config.model_dump(exclude=free):
        raise TrainingError(
            f"{path} was made with other settings (a budget of {result.pictures} pictures); "
            "give another --out, or delete it"
        )
    return result


def _run(bench: _Bench, name: str, contender: Contender, out: Path) -> Result:
    out.mkdir(parents=True, exist_ok=True)
    config = bench.config
    module = _train(bench, name, contender, out).eval()
    samples = draw_samples(module.decoder, config.samples, seed=config.seed + 1)
    values = {"frechet": measure_samples(samples, bench.data.train_targets, bench.embed)}
    shown = {"real": bench.held[:SHOWN], "samples": samples[:SHOWN]}
    lfw, lfw_95 = None, None
    if module.encoder is not None:
        made = reconstruct(module.encoder, module.decoder, bench.held)
        shown["made"] = made[:SHOWN]
        values |= measure_reconstruction(bench.held, made, bench.embed)
        card = write_encoder(module.encoder, out, backbone=contender.backbone or "")
        if config.lfw is not None:
            found = measure_lfw(
                card,
                config.lfw,
                cache=config.cache,
                threads=config.threads,
                progress=bench.progress,
            )
            lfw, lfw_95 = found.accuracy.value, (found.accuracy.low, found.accuracy.high)
            values["tar"] = found.tar["0.001"].value
    np.savez_compressed(out / PICTURES, allow_pickle=False, **shown)
    result = Result(
        name=name,
        title=contender.title,
        config=config,
        pictures=config.steps * config.batch,
        train_speed=_speed(out / "curve.csv"),
        parameters_encoder=count_parameters(module.encoder) if module.encoder else None,
        parameters_decoder=count_parameters(module.decoder),
        macs=_macs(module),
        lfw=lfw,
        lfw_95=lfw_95,
        **values,
    )
    write_json(out / RESULT, result.model_dump(mode="json"))
    return result


def _macs(module: ContenderModule) -> int | None:
    if module.encoder is None:
        return None
    device = next(module.parameters()).device
    return count_macs(module.encoder, torch.zeros(1, 3, 112, 112, device=device))


def _speed(curve: Path) -> float:
    """Pictures/s when training ended."""
    with curve.open(newline="", encoding="utf-8") as file:
        return float([*csv.DictReader(file)][-1]["speed"])


def _train(bench: _Bench, name: str, contender: Contender, out: Path) -> ContenderModule:
    """The trained networks; what an earlier call trained is not trained again."""
    config = bench.config
    torch.manual_seed(config.seed)
    task = make_task(config, contender, bench.data, fabric=bench.fabric, held=bench.held)
    plan = RunSchedule(
        steps=config.steps,
        batch=config.batch,
        log_every=10,
        save_every=max(1, config.steps // 4),
        validate_every=max(1, config.steps // 4),
    )
    last = out / LAST
    state = load_checkpoint(last) if last.is_file() else None
    first = 0
    if state is not None:
        first = int(state["step"])
        # The frozen part is built from the start's weights, which the checkpoint has, too.
        restore_module(task.module, state["model"], last)
    elif isinstance(task, VaeTask):
        task.calibrate()
    if first >= config.steps:
        return task.module
    run_task(
        task,
        plan,
        out,
        config_json=config.model_dump_json(),
        fabric=bench.fabric,
        resume=None if state is None else (state, last),
        progress=lambda _, done, total, values=None: bench.progress(name, done, total, values),
    )
    return task.module
