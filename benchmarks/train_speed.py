"""How fast each trunk trains and embeds, beside SFace and InceptionResnetV1, in one run.

    python benchmarks/train_speed.py --threads 2 --json benchmarks/results/train_speed.json

Training: a VAE's whole step (trunk, heads, sampling, decoder, squared error, cosine and KL, AdamW)
on pictures in memory. Encoders: our trunks and SFace on the same engine (OpenVINO, its own choice
of precision), facenet-pytorch's InceptionResnetV1 (160×160, random weights: cost only) in torch as
its documentation runs it. All take turns, round by round; figures are medians. Beside the wall
clock stand figures for each second of CPU time, which other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from facestream.engines.base import Engine
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.pipeline.bench.facenet import facenet_pytorch
from facestream.pipeline.bench.machine import describe as machine
from facestream.training.data.teacher import any_batch
from facestream.training.export.encoder import export_encoder
from facestream.training.losses.identity import cosine_distance
from facestream.training.losses.latent import kl_loss
from facestream.training.models.backbones import BackboneName
from facestream.training.models.cost import count_macs, count_parameters
from facestream.training.models.vae import Vae, make_vae, reparameterise
from torch import nn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
PRECISIONS = ("float32", "bfloat16")
SIZE, PEER_SIZE = 112, 160
Job = Callable[[], None]


def training_step(model: Vae, batch: int, precision: str) -> Job:
    """One step of a VAE, as a function to be timed."""
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    faces = (torch.rand(batch, 3, SIZE, SIZE) * 255).contiguous(memory_format=torch.channels_last)
    target = torch.randn(batch, 128)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            mu, logvar = (t.float() for t in model.encoder(faces))
            made = model.decoder(reparameterise(mu, logvar)).float()
            error = (made - (faces / 127.5 - 1)).square().mean()
            loss = error + cosine_distance(mu, target) + 0.01 * kl_loss(mu, logvar)
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def embedding(engine: Engine, name: str, batch: int) -> Job:
    """One batch through an engine."""
    faces = np.random.default_rng(0).uniform(0, 255, (batch, 3, SIZE, SIZE)).astype(np.float32)
    return lambda: void(engine.infer({name: faces}))


def peer_embedding(network: nn.Module, batch: int) -> Job:
    """One batch through a torch network."""
    faces = torch.rand(batch, 3, PEER_SIZE, PEER_SIZE) * 2 - 1

    def infer() -> None:
        with torch.inference_mode():
            network(faces)

    return infer


def void(_: object) -> None:
    """Forget a result."""


def timed(jobs: dict[str, tuple[Job, int]], rounds: int) -> dict[str, dict[str, float]]:
    """Pictures a second of each job: by the wall clock and by CPU time, medians of the rounds.

    Args:
        jobs: what to run, and how many pictures one run of it is.
        rounds: how often; the jobs take turns.
    """
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(-1, rounds):
        for name, (job, _) in jobs.items():
            started, used = time.perf_counter(), time.process_time()
            job()
            if round_ >= 0:  # the first one compiles and allocates
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
        print(f"round {round_ + 1}/{rounds}", file=sys.stderr, flush=True)
    return {
        name: {
            "per_second": round(count / float(np.median(wall[name])), 1),
            "per_cpu_second": round(count / float(np.median(cpu[name])), 1),
        }
        for name, (_, count) in jobs.items()
    }


def encoder_jobs(given: argparse.Namespace, folder: Path) -> dict[str, tuple[Job, int]]:
    """All encoders at all batch sizes."""
    options = EngineOptions(threads=given.threads)
    engines: dict[str, tuple[Engine, str]] = {}
    for name in BACKBONES:
        file = folder / f"{name}.onnx"
        export_encoder(make_vae(name).encoder.eval(), file)
        engines[name] = load_engine(file, options=options), "faces"
    if given.sface.is_file():
        file = folder / "sface.onnx"
        file.write_bytes(any_batch(given.sface).SerializeToString())
        engines["SFace"] = load_engine(file, options=options), "data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = facenet_pytorch().InceptionResnetV1(pretrained=None).eval()
    jobs: dict[str, tuple[Job, int]] = {}
    for batch in given.batches:
        for title, (engine, feed) in engines.items():
            jobs[f"{title} {engine.precision}, batch {batch}"] = (
                embedding(engine, feed, batch),
                batch,
            )
        jobs[f"InceptionResnetV1 torch float32, batch {batch}"] = peer_embedding(peer, batch), batch
    return jobs


def main() -> int:
    """Measure, print and perhaps write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32, help="pictures of a training step")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--sface", type=Path, default=DATA / "models/face_recognition_sface_2021dec.onnx"
    )
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    one = torch.zeros(1, 3, SIZE, SIZE)
    models = {
        name: {
            "parameters": count_parameters(make_vae(name).encoder),
            "macs": count_macs(make_vae(name).encoder, one),
        }
        for name in BACKBONES
    }
    steps = {
        f"{name} {precision}": (training_step(make_vae(name), given.batch, precision), given.batch)
        for precision in PRECISIONS
        for name in BACKBONES
    }
    result: dict[str, Any] = {
        "command": f"python benchmarks/train_speed.py --threads {given.threads} "
        f"--rounds {given.rounds} --batch {given.batch} --batches "
        + " ".join(map(str, given.batches)),
        "machine": machine(),
        "threads": given.threads,
        "note": given.note,
        "models": models,
        "training_batch": given.batch,
        "training": timed(steps, given.rounds),
    }
    with tempfile.TemporaryDirectory() as folder:
        result["encoders"] = timed(encoder_jobs(given, Path(folder)), given.rounds)
    for part in ("training", "encoders"):
        print(f"{part:50s}   a second  a CPU second")
        for name, figures in result[part].items():
            print(f"  {name:48s} {figures['per_second']:10.1f} {figures['per_cpu_second']:10.1f}")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
