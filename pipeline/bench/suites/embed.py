"""The encoder: faces a second by batch, backend and precision, beside other encoders."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from facestream.engines.base import Precision
from facestream.engines.cards import MODELS, load_card
from facestream.engines.options import Backend, Serving

from ...core.types import Floats, Image
from ..contenders import SFACE
from ..flops import count_work
from ..peers import (
    EXTRA,
    FACENET,
    FACENET_CUDA,
    lacks_cuda,
    lacks_facenet,
    lacks_modules,
    lacks_zoo,
)
from ..pictures import crops
from ..results import Missing, Row, Scalar
from ..suite import Case, Prepared, Wanted

RUNTIME, SFACE_NAME = "onnxruntime float32", "sface opencv"
BATCHES = (1, 8, 32, 128)
Embed = Callable[[Image], Floats]

# The first is what all are compared with. What cannot serve here says why when it is asked.
_CPU = ("openvino float32", "openvino bfloat16", "openvino int8", "onnxruntime float32")
_GPU = (
    *("tensorrt float16 cuda", "tensorrt bfloat16 cuda", "tensorrt float32 cuda"),
    *("onnxruntime float16 cuda", "onnxruntime float32 cuda"),
)


class EmbedSuite:
    """See ``suite.Suite``."""

    name = "embed"

    def contenders(self, wanted: Wanted) -> tuple[list[str], list[Missing]]:
        """Every backend in every precision it may serve in, and the peers that are here."""
        names: list[str] = [f"facestream {name}" for name in _CPU]
        lacking: list[Missing] = []
        for name in (f"facestream {name}" for name in _GPU):
            missing = lacks_cuda(self.name, name)
            if missing is None:
                names.append(name)
            else:
                lacking.append(missing)
        absent = lacks_modules(
            self.name, "facestream onnxruntime float32", ("onnxruntime", "onnx"), EXTRA
        )
        if absent is not None:
            names.remove("facestream onnxruntime float32")
            lacking.append(absent)
        for name, missing in (
            (RUNTIME, lacks_modules(self.name, RUNTIME, ("onnxruntime",), EXTRA)),
            (SFACE_NAME, lacks_zoo(self.name, wanted.zoo, (SFACE,), SFACE_NAME)),
            (FACENET, lacks_facenet(self.name)),
            (FACENET_CUDA, lacks_facenet(self.name) or lacks_cuda(self.name, FACENET_CUDA)),
        ):
            if not wanted.peers:
                continue
            if missing is None:
                names.append(name)
            else:
                lacking.append(missing)
        return names, lacking

    def cases(self, wanted: Wanted) -> tuple[list[Case], list[Missing]]:
        """Batches of real aligned faces."""
        keys: list[dict[str, Scalar]] = [{"batch": batch} for batch in BATCHES]
        keys = [key for key in keys if wanted.takes(key)]
        path = wanted.folder / "crops.npy"
        if keys and not path.exists():
            np.save(path, crops(max(BATCHES)))
        given = {"crops": str(path), "zoo": None if wanted.zoo is None else str(wanted.zoo)}
        return [Case(key, "faces/s", given) for key in keys], []

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """Load the encoder; it sees the faces batch after batch."""
        faces = np.load(case.given["crops"])
        batch = int(str(case.key["batch"]))
        embed, detail, close = _encoder(contender, batch, case.given)
        seen = 0

        def step() -> float:
            nonlocal seen
            start = seen % len(faces)
            seen += batch
            embed(faces[start : start + batch])
            return batch

        def answer() -> list[list[float]]:
            parts = [embed(faces[i : i + batch]) for i in range(0, min(len(faces), 32), batch)]
            return [[float(f"{value:.6g}") for value in row] for row in np.concatenate(parts)[:32]]

        return Prepared(step, answer, 4 * batch, detail, close)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """The embeddings of the same network must be those of its float32 reference."""
        reference = next(
            (
                name
                for name in (
                    RUNTIME,
                    "facestream openvino float32",
                    "facestream onnxruntime float32",
                )
                if name in answers
            ),
            None,
        )
        checks: dict[str, dict[str, Scalar]] = {}
        for name, found in answers.items():
            own = np.asarray(found, np.float64)
            if name in _OTHER_NETWORK:
                checks[name] = {"network": _OTHER_NETWORK[name]}
            elif reference is not None:
                true = np.asarray(answers[reference], np.float64)
                cosine = (true * own).sum(axis=1) / np.maximum(
                    np.linalg.norm(true, axis=1) * np.linalg.norm(own, axis=1), 1e-12
                )
                checks[name] = {
                    "cosine_least": round(float(cosine.min()), 6),
                    "finite": bool(np.isfinite(own).all()),
                    "reference": reference,
                }
        return checks

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """As they are."""
        return list(rows)


_INCEPTION = "InceptionResnetV1 with random weights: cost only, on the same crops at 160×160"
_OTHER_NETWORK = {SFACE_NAME: "SFace", FACENET: _INCEPTION, FACENET_CUDA: _INCEPTION}


def _encoder(
    contender: str, batch: int, given: Mapping[str, Any]
) -> tuple[Embed, dict[str, Any], Callable[[], None]]:
    if contender == RUNTIME:
        return (*_onnxruntime(), lambda: None)
    if contender == SFACE_NAME:
        path = Path(given["zoo"]) / SFACE
        detail = {"backend": "opencv dnn", "device": "cpu", **_cost(path)}
        return _sface(path), detail, lambda: None
    if contender in (FACENET, FACENET_CUDA):
        device: Literal["cpu", "cuda"] = "cuda" if contender == FACENET_CUDA else "cpu"
        return _inception(device), {"backend": "torch", "device": device}, lambda: None
    return _ours(contender, batch)


def _ours(contender: str, batch: int) -> tuple[Embed, dict[str, Any], Callable[[], None]]:
    """``facestream BACKEND PRECISION [cuda]``: nothing else may serve in its place.

    Raises:
        BackendUnavailable: it would.
    """
    from facestream.engines.errors import BackendUnavailable

    from ...recognition.encoder import Encoder

    _, backend, precision, *rest = contender.split()
    if precision not in get_args(Precision):
        raise ValueError(f"no precision '{precision}'")
    serving = Serving(
        backend=cast(Backend, backend),
        device="cuda" if rest else "cpu",
        precision=cast(Precision, precision),
        building="wait",
        strict=True,
    )
    encoder = Encoder(serving=serving, max_batch=batch)
    if (encoder.backend, encoder.precision) != (backend, precision):
        served = f"{encoder.backend} {encoder.precision}"
        encoder.close()
        raise BackendUnavailable(f"{served} would serve instead")
    (engine,) = encoder.engines.values()
    detail = {"backend": engine.backend, "device": engine.device, "precision": engine.precision}
    detail.update(_cost(MODELS / encoder.card.file))
    return lambda faces: encoder.embed(faces)[0], detail, encoder.close


def _cost(path: Path) -> dict[str, Any]:
    """GFLOP a face, counted in the ONNX; nothing without the module that reads it."""
    if importlib.util.find_spec("onnx") is None:
        return {}
    try:
        return {
            "gflop": round(count_work(path, {_input_name(path): (1, 3, 112, 112)}).flops / 1e9, 4)
        }
    except ValueError as error:
        return {"gflop": str(error)}


def _input_name(path: Path) -> str:
    onnx: Any = importlib.import_module("onnx")
    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    return next(str(item.name) for item in graph.input if item.name not in weights)


def _onnxruntime() -> tuple[Embed, dict[str, Any]]:
    """The same ONNX file with ONNX Runtime's defaults; pictures are converted by numpy."""
    onnxruntime: Any = importlib.import_module("onnxruntime")

    card = load_card("vae_encoder")
    providers = [
        name
        for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
        if name in onnxruntime.get_available_providers()
    ]
    session = onnxruntime.InferenceSession(str(MODELS / card.file), providers=providers)
    name = session.get_inputs()[0].name

    def embed(faces: Image) -> Floats:
        planes = faces[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        mu = session.run(["mu"], {name: np.ascontiguousarray(planes)})[0]
        return np.asarray(mu, np.float32)

    detail = {"backend": "onnxruntime", "device": session.get_providers()[0]}
    return embed, {**detail, **_cost(MODELS / card.file)}


def _sface(path: Path) -> Embed:
    """SFace as FaceRecognizerSF feeds it, but in batches, which that class does not take."""
    import cv2

    network = cv2.dnn.readNet(str(path))

    def embed(faces: Image) -> Floats:
        blob = cv2.dnn.blobFromImages(list(faces), 1, (112, 112), (0, 0, 0), True, False)
        network.setInput(blob)
        return np.array(network.forward(), np.float32)

    return embed


def _inception(device: Literal["cpu", "cuda"]) -> Embed:
    import torch

    from ..facenet import facenet_pytorch

    network = facenet_pytorch().InceptionResnetV1(pretrained=None).eval().to(device)

    def embed(faces: Image) -> Floats:
        planes = torch.from_numpy(np.ascontiguousarray(faces[..., ::-1].transpose(0, 3, 1, 2)))
        planes = planes.to(device).float()
        large = torch.nn.functional.interpolate(planes, (160, 160), mode="bilinear")
        with torch.inference_mode():
            return np.asarray(network((large - 127.5) / 128).cpu().numpy(), np.float32)

    return embed


SUITE = EmbedSuite()
