"""The encoder by batch, backend and precision, beside other encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from facestream.engines.base import Precision
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import Backend, Serving
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.recognition.encoder import Encoder

from ..peers import (
    EXTRA,
    FACENET,
    FACENET_CUDA,
    SFACE,
    lacks_cuda,
    lacks_facenet,
    lacks_modules,
    lacks_zoo,
    onnxruntime_encoder,
)
from ..pictures import crops
from ..suite import Case, Options, Prepared, Suite, sort_out, stepper

RUNTIME, SFACE_NAME = "onnxruntime float32", "sface opencv"
BATCHES = (1, 8, 32, 128)
Embed = Callable[[Image], Floats]

# The first is the reference of the ratios. A contender that cannot serve here says why itself.
_CPU = ("openvino float32", "openvino bfloat16", "openvino int8", "onnxruntime float32")
_GPU = (
    *("tensorrt float16 cuda", "tensorrt bfloat16 cuda", "tensorrt float32 cuda"),
    *("onnxruntime float16 cuda", "onnxruntime float32 cuda"),
)


class EmbedSuite(Suite):
    """See ``suite.Suite``."""

    name = "embed"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Every backend in every precision it may serve in, and the peers."""
        runtime = f"facestream {_CPU[-1]}"
        found: dict[str, Missing | None] = {f"facestream {name}": None for name in _CPU}
        found[runtime] = lacks_modules(self.name, runtime, ("onnxruntime", "onnx"), EXTRA)
        found |= {f"facestream {n}": lacks_cuda(self.name, f"facestream {n}") for n in _GPU}
        if options.peers:
            facenet = lacks_facenet(self.name)
            found |= {
                RUNTIME: lacks_modules(self.name, RUNTIME, ("onnxruntime",), EXTRA),
                SFACE_NAME: lacks_zoo(self.name, options.zoo, (SFACE,), SFACE_NAME),
                FACENET: facenet,
                FACENET_CUDA: facenet or lacks_cuda(self.name, FACENET_CUDA),
            }
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Batches of real aligned faces."""
        keys: list[dict[str, Scalar]] = [{"batch": batch} for batch in BATCHES]
        keys = [key for key in keys if options.takes(key)]
        path = options.folder / "crops.npy"
        if keys and not path.exists():
            np.save(path, crops(max(BATCHES)))
        given = {"crops": str(path), "zoo": str(options.zoo or "")}
        return [Case(key, "faces/s", given) for key in keys], []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """Load the encoder; it sees the faces batch after batch."""
        faces = np.load(case.given["crops"])
        batch = int(str(case.key["batch"]))
        embed, detail, close = _encoder(contender, batch, case.given)

        def answer() -> list[list[float]]:
            parts = [embed(faces[i : i + batch]) for i in range(0, min(len(faces), 32), batch)]
            return [[float(f"{value:.6g}") for value in row] for row in np.concatenate(parts)[:32]]

        return Prepared(stepper(embed, faces, batch), answer, 4 * batch, detail, close)

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


_INCEPTION = "InceptionResnetV1 with random weights: cost only, on the same crops at 160×160"
_OTHER_NETWORK = {SFACE_NAME: "SFace", FACENET: _INCEPTION, FACENET_CUDA: _INCEPTION}


def _encoder(
    contender: str, batch: int, given: Mapping[str, Any]
) -> tuple[Embed, dict[str, Any], Callable[[], None]]:
    if contender == RUNTIME:
        embed, provider = onnxruntime_encoder()
        return embed, {"backend": "onnxruntime", "device": provider}, lambda: None
    if contender == SFACE_NAME:
        path = Path(given["zoo"]) / SFACE
        return _sface(path), {"backend": "opencv dnn", "device": "cpu"}, lambda: None
    if contender in (FACENET, FACENET_CUDA):
        device: Literal["cpu", "cuda"] = "cuda" if contender == FACENET_CUDA else "cpu"
        return _inception(device), {"backend": "torch", "device": device}, lambda: None
    return _ours(contender, batch)


def _ours(contender: str, batch: int) -> tuple[Embed, dict[str, Any], Callable[[], None]]:
    """``facestream BACKEND PRECISION [cuda]``, and no other in its place.

    Raises:
        BackendUnavailable: another would serve.
    """
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
    return lambda faces: encoder.embed(faces)[0], detail, encoder.close


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

    from ..facenet import facenet_inception

    network = facenet_inception(device=device)

    def embed(faces: Image) -> Floats:
        planes = torch.from_numpy(np.ascontiguousarray(faces[..., ::-1].transpose(0, 3, 1, 2)))
        planes = planes.to(device).float()
        large = torch.nn.functional.interpolate(planes, (160, 160), mode="bilinear")
        with torch.inference_mode():
            return np.asarray(network((large - 127.5) / 128).cpu().numpy(), np.float32)

    return embed


SUITE = EmbedSuite()
