"""How near the networks come to what this machine can do at most.

Peaks are measured, not looked up: products of matrices in each precision, and copying memory.
The networks' operations and bytes are counted in their ONNX graphs (``flops``). Williams,
Waterman, Patterson, «Roofline», 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from facestream.engines.base import Engine, Precision
from facestream.engines.cards import MODELS, load_card
from facestream.engines.options import Backend, Device, EngineOptions
from facestream.engines.registry import load_engine

from ..flops import Shape, Work, count_work
from ..peaks import (
    Step,
    copy_cuda_memory,
    copy_memory,
    openvino_matmul,
    torch_matmul,
)
from ..peers import EXTRA, lacks_cuda, lacks_modules
from ..pictures import SIZES, crops, render
from ..results import Missing, Row, Scalar
from ..suite import Case, Prepared, Wanted

VALUE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
COPY = "copy"
_SIZES = (1024, 2048)

# P-Net on the first level of a 720p picture's pyramid for faces of 40 pixels; the others on as
# many crops as such a picture usually leaves them.
_NETWORKS: dict[str, list[Shape]] = {
    "mtcnn_pnet": [(1, 3, 216, 384), (8, 3, 216, 384)],
    "mtcnn_rnet": [(64, 3, 24, 24)],
    "mtcnn_onet": [(16, 3, 48, 48)],
    "vae_encoder": [(1, 3, 112, 112), (8, 3, 112, 112), (32, 3, 112, 112)],
    "vae_decoder": [(8, 256)],
}


class RooflineSuite:
    """See ``suite.Suite``. All rates are GFLOP/s, of ``copy`` GB/s."""

    name = "roofline"

    def contenders(self, wanted: Wanted) -> tuple[list[str], list[Missing]]:
        """Backends in their precisions; for int8 only the peak is measured."""
        names = ["openvino float32", "openvino bfloat16", "openvino int8"]
        no_gpu = lacks_cuda(self.name, "torch on CUDA")
        if no_gpu is None:
            return [*names, "torch float32", "torch float16", "torch bfloat16", "torch int8"], []
        return names, [no_gpu]

    def cases(self, wanted: Wanted) -> tuple[list[Case], list[Missing]]:
        """Peaks first, then the networks."""
        keys: list[tuple[dict[str, Scalar], str]] = [({"work": COPY}, "GB/s")]
        keys += [({"work": f"matmul {size}"}, "GFLOP/s") for size in _SIZES]
        absent = lacks_modules(self.name, "the networks", ("onnx",), EXTRA)
        if absent is None:
            for name, shapes in _NETWORKS.items():
                chosen = shapes[:1] if wanted.quick else shapes
                keys += [({"work": name, "batch": shape[0]}, "GFLOP/s") for shape in chosen]
        return (
            [Case(key, unit) for key, unit in keys if wanted.takes(key)],
            [] if absent is None else [absent],
        )

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """A peak, or a network on real pictures."""
        backend, precision = contender.split()
        work = str(case.key["work"])
        if work == COPY:
            return _copying(backend, precision)
        if work.startswith("matmul"):
            size = int(work.split()[1])
            make = openvino_matmul if backend == "openvino" else torch_matmul
            step, detail = make(size, precision)
            return Prepared(step, detail=detail, warm=1)
        if precision == "int8":
            return None
        return _network(backend, precision, work, int(str(case.key["batch"])))

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """What was counted of the network."""
        return {name: dict(found) for name, found in answers.items()}

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """With the share of the measured peaks that each network reaches."""
        return [with_shares(row, rows) for row in rows]


def peaks(rows: Sequence[Row], contender: str) -> tuple[float, float] | None:
    """GFLOP/s and GB/s at most, the best of all rounds; None where one was not measured."""
    backend = contender.split()[0]
    flops = [
        max(row.rounds)
        for row in rows
        if row.contender == contender and str(row.case["work"]).startswith("matmul")
    ]
    copies = [
        max(row.rounds)
        for row in rows
        if row.contender.split()[0] == backend and row.case["work"] == COPY
    ]
    return (max(flops), max(copies)) if flops and copies else None


def with_shares(row: Row, rows: Sequence[Row]) -> Row:
    """A network's row with the shares of the peaks; another as it is."""
    most = peaks(rows, row.contender)
    if most is None or "intensity" not in row.checks:
        return row
    flops, bandwidth = most
    intensity = float(str(row.checks["intensity"]))
    roof = min(flops, bandwidth * intensity)
    return replace(
        row,
        checks={
            **row.checks,
            "peak_gflops": round(flops, 1),
            "peak_gb_per_s": round(bandwidth, 1),
            "share_of_peak": round(row.median / flops, 4),
            "share_of_roof": round(row.median / roof, 4),
            "share_of_bandwidth": round(row.median / intensity / bandwidth, 4),
        },
    )


def _copying(backend: str, precision: str) -> Prepared | None:
    """Once a device, whatever the precision."""
    if precision != "float32":
        return None
    step, detail = copy_memory() if backend == "openvino" else copy_cuda_memory()
    return Prepared(step, detail=detail, warm=1)


def _network(backend: str, precision: str, name: str, batch: int) -> Prepared:
    card = load_card(name)
    shape = next(shape for shape in _NETWORKS[name] if shape[0] == batch)
    path = MODELS / card.file
    work = count_work(path, {card.inputs[0].name: shape})
    device: Device = "cpu" if backend == "openvino" else "cuda"
    options = EngineOptions(precision=cast(Precision, precision), device=device)
    engine = load_engine(path, backend=cast(Backend, backend), options=options)
    feeds = {card.inputs[0].name: _input(shape)}
    step = _running(engine, feeds, work)
    detail = {"backend": engine.backend, "device": engine.device, "precision": engine.precision}
    return Prepared(step, lambda: counted(work, precision), 1, detail, engine.close)


def _running(engine: Engine, feeds: Mapping[str, Any], work: Work) -> Step:
    def step() -> float:
        engine.infer(feeds)
        return work.flops / 1e9

    return step


def counted(work: Work, precision: str) -> dict[str, Scalar]:
    """Operations, bytes and the intensity: operations for each byte that must travel."""
    size = VALUE_BYTES[precision]
    return {
        "gflop": round(work.flops / 1e9, 6),
        "least_mb": round(work.least_bytes(size) / 1e6, 4),
        "layers_mb": round(work.layer_bytes(size) / 1e6, 4),
        "intensity": round(work.flops / work.least_bytes(size), 2),
    }


def _input(shape: Shape) -> Any:
    """Pictures as the network's own input wants them; a code of the decoder is drawn."""
    if len(shape) == 2:
        return np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    if shape[2] == 112:
        pictures = crops(shape[0])
    else:
        (scene,) = render(SIZES["720p"], 3, count=1)
        tops = np.linspace(0, scene.shape[0] - shape[2], shape[0]).astype(int)
        pictures = np.stack([scene[top : top + shape[2], 300 : 300 + shape[3]] for top in tops])
    planes = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    # MTCNN's networks take −1..1, the encoder takes 0..255 (its card says so).
    return np.ascontiguousarray(planes if shape[2] == 112 else (planes - 127.5) / 128)


SUITE = RooflineSuite()
