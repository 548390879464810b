"""Writes MTCNN's three networks as ONNX from the weights that facenet-pytorch ships.

Run ``python -m facestream.training.export.mtcnn --out DIR`` with facenet-pytorch 2.5.3
installed. Its code is not imported, only its ``data/*.pt`` files are read.

The graphs are built from ONNX operators directly. They compute what facenet-pytorch's modules
compute, rearranged so that nothing is done twice or by hand around them:

- the normalisation (x − 127.5)/128 and the RGB order are folded into the first convolution
  (exact, since it has no padding), so the input is BGR 0..255 as pictures come;
- the two-way softmax is a logistic function of the difference of its logits, so the face
  classifier is one filter, whose output is the log-odds of a face;
- the heads that read the same features are one layer. Channel 0 is the log-odds, 1..4 the box
  offsets, 5..14 (O-Net) the landmarks, five x then five y;
- R- and O-Net's dense layer reads W×H×C in facenet-pytorch; its weights are permuted to C×H×W.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

log = logging.getLogger(__name__)

Net = Literal["pnet", "rnet", "onet"]
Weights = dict[str, NDArray[np.float32]]

NETS: tuple[Net, ...] = ("pnet", "rnet", "onet")
OPSET = 17
IR_VERSION = 8
RELEASE = "2.5.3"
# Fixed, so that a second export gives the same file.
CREATED = "2026-11-22"

_DESCRIPTIONS: dict[Net, str] = {
    "pnet": "MTCNN P-Net: proposes faces on a picture pyramid, a 12×12 window every 2 pixels",
    "rnet": "MTCNN R-Net: keeps or drops a proposal and moves its box",
    "onet": "MTCNN O-Net: keeps or drops a face, moves its box, and gives five landmarks",
}


def find_weights(net: Net) -> Path:
    """The state dict of a network inside the installed facenet-pytorch.

    Raises:
        FileNotFoundError: facenet-pytorch is not installed, or has another layout.
    """
    spec = importlib.util.find_spec("facenet_pytorch")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / f"{net}.pt"
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"facenet-pytorch's {net}.pt is not there; install it with: "
        f"pip install --no-deps facenet-pytorch=={RELEASE}"
    )


def read_weights(path: Path) -> Weights:
    """The arrays of a state dict, without running code from the file."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy().astype(np.float32) for name, tensor in state.items()}


@dataclass(frozen=True, slots=True)
class _Pool:
    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Convolutions, each with PReLU and maybe pooling; then dense; then heads."""

    side: int | None
    pools: tuple[_Pool | None, ...]
    dense: str | None
    classifier: str
    regressors: tuple[str, ...]
    output: str


_PLANS: dict[Net, _Plan] = {
    "pnet": _Plan(None, (_Pool(2, 2), None, None), None, "conv4_1", ("conv4_2",), "maps"),
    "rnet": _Plan(24, (_Pool(3, 2), _Pool(3, 2), None), "4", "dense5_1", ("dense5_2",), "heads"),
    "onet": _Plan(
        48,
        (_Pool(3, 2), _Pool(3, 2), _Pool(2, 2), None),
        "5",
        "dense6_1",
        ("dense6_2", "dense6_3"),
        "heads",
    ),
}


class _Graph:
    """Collects nodes and initialisers; each call appends to the end of the chain."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tip = name
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def add(
        self,
        operator: str,
        *arrays: tuple[str, NDArray[np.float32]],
        output: str,
        **attributes: Any,
    ) -> None:
        for name, array in arrays:
            self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        inputs = [self.tip, *(name for name, _ in arrays)]
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        self.tip = output


def fold_input(
    weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first convolution for BGR 0..255 instead of RGB (x − 127.5)·0.0078125.

    Args:
        weight: O×3×K×K.
        bias: O.
    """
    exact = weight.astype(np.float64) * 0.0078125
    moved = bias.astype(np.float64) - 127.5 * exact.sum(axis=(1, 2, 3))
    return exact[:, ::-1].astype(np.float32), moved.astype(np.float32)


def merge_heads(weights: Weights, plan: _Plan) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One layer for all heads: the log-odds of a face, then the regressors as they are."""
    rows = [weights[f"{plan.classifier}.weight"], weights[f"{plan.classifier}.bias"]]
    odds = [part[1:2] - part[0:1] for part in rows]
    heads = [odds, *([weights[f"{r}.weight"], weights[f"{r}.bias"]] for r in plan.regressors)]
    weight = np.concatenate([head[0] for head in heads])
    bias = np.concatenate([head[1] for head in heads])
    return weight, bias


def build(net: Net, weights: Weights) -> onnx.ModelProto:
    """The network as an ONNX model; see the module's text for what it takes and gives."""
    plan = _PLANS[net]
    graph = _Graph("image" if net == "pnet" else "crops")
    source = graph.name
    for index, pool in enumerate(plan.pools, start=1):
        weight, bias = weights[f"conv{index}.weight"], weights[f"conv{index}.bias"]
        if index == 1:
            weight, bias = fold_input(weight, bias)
        _convolve(graph, index, weight, bias)
        slope = weights[f"prelu{index}.weight"].reshape(-1, 1, 1)
        graph.add("PRelu", (f"prelu{index}.slope", slope), output=f"prelu{index}")
        if pool is not None:
            size, stride = [pool.kernel] * 2, [pool.stride] * 2
            graph.add(
                "MaxPool", output=f"pool{index}", kernel_shape=size, strides=stride, ceil_mode=1
            )
    head_weight, head_bias = merge_heads(weights, plan)
    if plan.dense is None:
        parts = (("heads.weight", head_weight), ("heads.bias", head_bias))
        graph.add("Conv", *parts, output=plan.output, kernel_shape=[1, 1])
    else:
        _dense(graph, weights, plan.dense)
        parts = (("heads.weight", head_weight), ("heads.bias", head_bias))
        graph.add("Gemm", *parts, output=plan.output, transB=1)
    return _model(net, graph, source, plan, len(head_bias))


def _convolve(
    graph: _Graph, index: int, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    name = f"conv{index}"
    parts = ((f"{name}.weight", weight), (f"{name}.bias", bias))
    graph.add("Conv", *parts, output=name, kernel_shape=list(weight.shape[2:]))


def _dense(graph: _Graph, weights: Weights, number: str) -> None:
    """Flatten, the hidden dense layer and its PReLU."""
    weight = weights[f"dense{number}.weight"]
    # Both networks end in 3×3 cells; the columns are W×H×C and become C×H×W.
    hidden, columns = weight.shape
    weight = weight.reshape(hidden, 3, 3, columns // 9).transpose(0, 3, 2, 1).reshape(hidden, -1)
    graph.add("Flatten", output="flat", axis=1)
    parts = (("dense.weight", weight), ("dense.bias", weights[f"dense{number}.bias"]))
    graph.add("Gemm", *parts, output="dense", transB=1)
    slope = ("dense.slope", weights[f"prelu{number}.weight"])
    graph.add("PRelu", slope, output="dense_prelu")


def _model(net: Net, graph: _Graph, source: str, plan: _Plan, channels: int) -> onnx.ModelProto:
    side: tuple[str | int, str | int] = (plan.side, plan.side) if plan.side else ("H", "W")
    inputs = helper.make_tensor_value_info(source, TensorProto.FLOAT, ["N", 3, *side])
    cells = [] if plan.side else ["CH", "CW"]
    outputs = helper.make_tensor_value_info(plan.output, TensorProto.FLOAT, ["N", channels, *cells])
    body = helper.make_graph(graph.nodes, f"mtcnn_{net}", [inputs], [outputs], graph.initialisers)
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        # Part of the files: another name would only change their checksums.
        producer_name="facestream.training.export_mtcnn",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def card(net: Net, onnx_bytes: bytes) -> dict[str, Any]:
    """The model card, as plain JSON values."""
    plan = _PLANS[net]
    side: list[int | None] = [plan.side, plan.side]
    channels = 15 if net == "onet" else 5
    cells: list[int | None] = [None, None] if plan.side is None else []
    return {
        "name": f"mtcnn_{net}",
        "id": f"mtcnn_{net}-facenet-pytorch-{RELEASE}",
        "file": f"mtcnn_{net}.onnx",
        "sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "task": "face detection",
        "description": _DESCRIPTIONS[net],
        "inputs": [
            {
                "name": "image" if plan.side is None else "crops",
                "shape": [None, 3, *side],
                "dtype": "float32",
                "layout": "NCHW",
            }
        ],
        "outputs": [
            {
                "name": plan.output,
                "shape": [None, channels, *cells],
                "dtype": "float32",
                "layout": "NCHW" if plan.side is None else "NC",
            }
        ],
        "preprocessing": {
            "colour_order": "BGR",
            "range": "0..255",
            "normalised_by": "the graph: (x - 127.5) / 128 is folded into the first convolution",
            "output_channels": "0 log-odds of a face; 1..4 box offsets x1 y1 x2 y2 as fractions "
            "of the box" + ("; 5..9 landmarks x, 10..14 landmarks y" if net == "onet" else ""),
        },
        "source": f"https://github.com/timesler/facenet-pytorch, release {RELEASE}, data/{net}.pt "
        "(MTCNN: Zhang, Zhang, Li, Qiao, 2016, arXiv:1604.02878)",
        "licence": "MIT",
        "notice_file": "LICENSE.facenet-pytorch",
        "training_data": ["WIDER FACE", "CelebA"],
        "excluded": "not trained here; the published weights, unchanged but for the rearrangement",
        "metrics": {},
        "thresholds": None,
        "created": CREATED,
    }


def export(out: Path) -> list[Path]:
    """Write the three networks and their cards into ``out``.

    Returns:
        The ``.onnx`` files.

    Raises:
        FileNotFoundError: facenet-pytorch's weights are not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for net in NETS:
        content = build(net, read_weights(find_weights(net))).SerializeToString(deterministic=True)
        path = out / f"mtcnn_{net}.onnx"
        path.write_bytes(content)
        text = json.dumps(card(net, content), indent=2, ensure_ascii=False)
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        log.info("%s: %d bytes", path, len(content))
        paths.append(path)
    return paths


def installed_release() -> str:
    """The installed facenet-pytorch's version, for a warning when it is not the expected one."""
    return importlib.metadata.version("facenet-pytorch")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m facestream.training.export.mtcnn",
        description="Export MTCNN's networks from facenet-pytorch's weights to ONNX.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    out: Path = parser.parse_args(arguments).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        export(out)
        release = installed_release()
    except (FileNotFoundError, importlib.metadata.PackageNotFoundError) as error:
        log.error("%s", error)
        return 2
    if release != RELEASE:
        log.warning("facenet-pytorch %s is installed; the cards say %s", release, RELEASE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
