"""Face detection alone, by size of the picture, smallest face, faces and batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn

from ..facenet import facenet_mtcnn, quietly
from ..peers import (
    FACENET,
    FACENET_CUDA,
    YUNET,
    YunetSface,
    corners,
    lacks_cuda,
    lacks_facenet,
    lacks_modules,
    lacks_zoo,
)
from ..pictures import CROWD, SIZES, frames, render
from ..suite import Case, Options, Prepared, Suite, sort_out

FAST, EXACT, RESIDENT = "facestream fast", "facestream exact", "facestream resident"
OPENVINO = "facestream openvino"
YUNET_NAME = "yunet"
PICTURES = 8
Detect = Callable[[list[Image]], list[Floats]]


class DetectSuite(Suite):
    """See ``suite.Suite``."""

    name = "detect"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Both modes of ours, the one without kernels, the one on the GPU, and the peers."""
        found: dict[str, Missing | None] = {
            FAST: None,
            EXACT: None,
            OPENVINO: None,
            RESIDENT: lacks_modules(
                self.name, RESIDENT, ("torch", "onnx"), "pip install 'facestream[gpu]'"
            )
            or lacks_cuda(self.name, RESIDENT),
        }
        if options.peers:
            found |= {
                FACENET: lacks_facenet(self.name),
                YUNET_NAME: lacks_zoo(self.name, options.zoo, (YUNET,), YUNET_NAME),
                FACENET_CUDA: lacks_facenet(self.name) or lacks_cuda(self.name, FACENET_CUDA),
            }
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """Sizes × smallest faces × pictures × batches."""
        sizes = ["720p"] if options.quick and "size" not in options.only else list(SIZES)
        least = [40] if options.quick and "min_face" not in options.only else [40, 20]
        kinds: dict[str, Path | int] = {video.name: video for video in options.videos}
        if not kinds:
            kinds = {"0": 0, "1": 1, "3": 3, "crowd": CROWD}
        cases = []
        for min_face, size, kind, batch in product(least, sizes, kinds, (1, PICTURES)):
            key: dict[str, Scalar] = {
                "size": size,
                "min_face": min_face,
                "faces": kind,
                "batch": batch,
            }
            if options.takes(key):
                path = _saved(options.folder, size, kind, kinds[kind])
                given = {"pictures": str(path), "zoo": str(options.zoo or "")}
                cases.append(Case(key, "pictures/s", given, group=str(min_face)))
        return cases, []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """Load the detector; it sees the pictures in turn."""
        pictures = list(np.load(case.given["pictures"]))
        batch, min_face = int(str(case.key["batch"])), int(str(case.key["min_face"]))
        detect, detail, close = _detector(contender, min_face, Path(case.given["zoo"]))
        seen = 0

        def step() -> float:
            nonlocal seen
            detect([pictures[(seen + i) % len(pictures)] for i in range(batch)])
            seen += batch
            return batch

        def answer() -> list[list[list[float]]]:
            return [boxes.tolist() for boxes in detect(pictures)]

        # OpenVINO compiles for a shape when it has seen it often, on each of two workers.
        warm = 72 if contender in (FAST, EXACT, OPENVINO) else batch
        return Prepared(step, answer, warm, detail, close)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """Each against our exact cascade, which has facenet-pytorch's boxes."""
        found = {
            name: [np.array(boxes, np.float32).reshape(-1, 4) for boxes in answer]
            for name, answer in answers.items()
        }
        if EXACT not in found:
            return {}
        return {name: compare_boxes(found[EXACT], own) for name, own in found.items()}


def compare_boxes(truth: Sequence[Floats], found: Sequence[Floats]) -> dict[str, Scalar]:
    """The share of the true boxes that was found (IoU ≥ 0.5), extra boxes, and how well they fit.

    Args:
        truth: N×4 of each picture.
        found: M×4 of each picture.

    Returns:
        ``found`` faces per picture, ``recall`` (None if there is nothing to find), ``extra`` in
        all pictures, and the ``iou`` of the worst and the median pair.
    """
    best: list[float] = []
    extra = 0
    for true, own in zip(truth, found, strict=True):
        overlap = iou_matrix(true, own)
        best += overlap.max(axis=1, initial=0.0).tolist()
        extra += int((overlap.max(axis=0, initial=0.0) < 0.5).sum())
    matched = [iou for iou in best if iou >= 0.5]
    return {
        "found": round(sum(map(len, found)) / len(found), 2),
        "recall": round(len(matched) / len(best), 4) if best else None,
        "extra": extra,
        "iou_least": round(min(matched), 4) if matched else None,
        "iou_median": round(float(np.median(matched)), 4) if matched else None,
    }


def _saved(folder: Path, size: str, kind: str, what: Path | int) -> Path:
    """The pictures in a file that all contenders read."""
    path = folder / f"{size}-{kind}.npy"
    if not path.exists():
        width, height = SIZES[size]
        pictures = (
            render((width, height), what, count=PICTURES)
            if isinstance(what, int)
            else frames(what, height=height, count=PICTURES)
        )
        np.save(path, pictures)
    return path


def _detector(
    contender: str, min_face: int, zoo: Path
) -> tuple[Detect, dict[str, Any], Callable[[], None]]:
    if contender in (FACENET, FACENET_CUDA):
        where: Literal["cpu", "cuda"] = "cuda" if contender == FACENET_CUDA else "cpu"
        return _facenet(min_face, where), {"backend": "torch", "device": where}, lambda: None
    if contender == YUNET_NAME:
        # One picture after another: YuNet takes no batches.
        yunet = YunetSface(zoo)
        detail = {"backend": "opencv dnn", "device": "cpu"}
        return lambda images: [corners(yunet.detect(i)) for i in images], detail, lambda: None
    device: Literal["cpu", "cuda"] = "cuda" if contender == RESIDENT else "cpu"
    ours = Mtcnn(
        mode="fast" if contender == FAST else "exact",
        min_face=min_face,
        serving=Serving(device=device),
        kernels="off" if contender == OPENVINO else "auto",
    )

    def detect(images: list[Image]) -> list[Floats]:
        return _boxes([ours.detect(images[0])] if len(images) == 1 else ours.detect_batch(images))

    return detect, {"backend": ours.backend, "device": device}, ours.close


def _boxes(found: Sequence[Any]) -> list[Floats]:
    return [faces.boxes for faces in found]


def _facenet(min_face: int, device: Literal["cpu", "cuda"]) -> Detect:
    mtcnn = facenet_mtcnn(min_face=min_face, device=device)

    def detect(images: list[Image]) -> list[Floats]:
        batch = np.stack([image[..., ::-1] for image in images])
        with quietly():
            boxes, _ = mtcnn.detect(batch)
        none = np.zeros((0, 4), np.float32)
        return [none if found is None else np.asarray(found, np.float32) for found in boxes]

    return detect


SUITE = DetectSuite()
