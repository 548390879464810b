"""How fast each trunk trains and embeds, beside SFace and InceptionResnetV1.

Part ``step``: a VAE's whole training step (trunk, heads, sampling, decoder, squared error, cosine
and KL, AdamW) on pictures in memory. Part ``encoder``: our untrained trunks and SFace on the same
engine (its own choice of precision), InceptionResnetV1 (160×160, random weights) in torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.training.data.teacher import any_batch
from facestream.training.export.encoder_onnx import export_encoder
from facestream.training.losses.identity import cosine_distance
from facestream.training.losses.latent import kl_loss
from facestream.training.models.backbones import BackboneName
from facestream.training.models.cost import count_macs, count_parameters
from facestream.training.models.vae import Vae, make_vae, reparameterise
from torch import nn

from ..facenet import facenet_inception
from ..peers import SFACE, lacks_facenet, lacks_zoo
from ..suite import Case, Options, Prepared, Suite, sort_out

SIZE, PEER_SIZE = 112, 160
SFACE_NAME, INCEPTION = "sface", "inception-resnet-v1"


class TrainingSuite(Suite):
    """See ``suite.Suite``."""

    name = "training"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Every trunk, and the encoders of others."""
        found: dict[str, Missing | None] = dict.fromkeys(get_args(BackboneName))
        if options.peers:
            found[SFACE_NAME] = lacks_zoo(self.name, options.zoo, (SFACE,), SFACE_NAME)
            found[INCEPTION] = lacks_facenet(self.name)
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """A training step in both precisions, and encoders by batch."""
        keys: list[dict[str, Scalar]] = [
            {"part": "step", "precision": precision, "batch": 16 if options.quick else 32}
            for precision in ("float32", "bfloat16")
        ]
        keys += [{"part": "encoder", "batch": batch} for batch in (1, 8, 32)]
        given = {"zoo": str(options.zoo or ""), "threads": options.threads}
        return [Case(key, "pictures/s", given) for key in keys if options.takes(key)], []

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """Peers have no part in training."""
        if case.given["threads"] is not None:
            torch.set_num_threads(case.given["threads"])
        torch.manual_seed(0)
        batch, peer = int(str(case.key["batch"])), contender in (SFACE_NAME, INCEPTION)
        detail: dict[str, Any] = {}
        if not peer:
            encoder = make_vae(cast(BackboneName, contender)).encoder.eval()
            detail["parameters"] = count_parameters(encoder)
            detail["macs"] = count_macs(encoder, torch.zeros(1, 3, SIZE, SIZE))
        if case.key["part"] == "encoder":
            work = _encoder(contender, batch, case.given)
        elif peer:
            return None
        else:
            model = make_vae(cast(BackboneName, contender))
            work = training_step(model, batch, str(case.key["precision"]))

        def step() -> float:
            work()
            return batch

        return Prepared(step, warm=2 * batch, detail=detail)


def training_step(model: Vae, batch: int, precision: str) -> Callable[[], None]:
    """One step of a VAE."""
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


def _encoder(contender: str, batch: int, given: Any) -> Callable[[], object]:
    """One batch through an encoder."""
    if contender == INCEPTION:
        network, large = facenet_inception(), torch.rand(batch, 3, PEER_SIZE, PEER_SIZE) * 2 - 1

        def infer() -> None:
            with torch.inference_mode():
                network(large)

        return infer
    options = EngineOptions(threads=given["threads"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "encoder.onnx")
        if contender == SFACE_NAME:
            file.write_bytes(any_batch(Path(given["zoo"]) / SFACE).SerializeToString())
        else:
            export_encoder(make_vae(cast(BackboneName, contender)).encoder.eval(), file)
        engine = load_engine(file, options=options)
    faces = np.random.default_rng(0).uniform(0, 255, (batch, 3, SIZE, SIZE)).astype(np.float32)
    feed = "data" if contender == SFACE_NAME else "faces"
    return lambda: engine.infer({feed: faces})


SUITE = TrainingSuite()
