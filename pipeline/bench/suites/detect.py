"""Detection alone: pictures a second by their size, their faces and how many come at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from facestream.engines.options import Serving
from numpy.typing import NDArray

from ...core.types import Floats, Image
from ..contenders import YUNET
from ..peers import (
    FACENET,
    FACENET_CUDA,
    lacks_cuda,
    lacks_facenet,
    lacks_modules,
    lacks_zoo,
)
from ..pictures import (
    CROWD,
    SIZES,
    frames,
    render,
)
from ..results import Missing, Row, Scalar
from ..suite import Case, Prepared, Wanted

FAST, EXACT, RESIDENT, YUNET_NAME = (
    "facestream fast",
    "facestream exact",
    "facestream resident",
    "yunet",
)
PICTURES = 8
Detect = Callable[[list[Image]], list[Floats]]


class DetectSuite:
    """See ``suite.Suite``."""

    name = "detect"

    def contenders(self, wanted: Wanted) -> tuple[list[str], list[Missing]]:
        """Ours, and the peers that are here."""
        names, lacking = [FAST, EXACT], []
        facenet = lacks_facenet(self.name)
        others: list[tuple[str, Missing | None]] = [(RESIDENT, _lacks_resident())]
        if wanted.peers:
            others += [
                (FACENET, facenet),
                (YUNET_NAME, lacks_zoo(self.name, wanted.zoo, (YUNET,), YUNET_NAME)),
            ]
            if lacks_cuda(self.name, FACENET_CUDA) is None and facenet is None:
                others.append((FACENET_CUDA, None))
        for name, missing in others:
            if missing is None:
                names.append(name)
            else:
                lacking.append(missing)
        return names, lacking

    def cases(self, wanted: Wanted) -> tuple[list[Case], list[Missing]]:
        """Sizes × smallest faces × pictures × batches."""
        sizes = ["720p"] if wanted.quick and "size" not in wanted.only else list(SIZES)
        least = [40] if wanted.quick and "min_face" not in wanted.only else [40, 20]
        kinds: dict[str, Path | int] = {video.name: video for video in wanted.videos}
        if not kinds:
            kinds = {"0": 0, "1": 1, "3": 3, "crowd": CROWD}
        cases = []
        for min_face, size, (kind, what), batch in product(
            least, sizes, kinds.items(), (1, PICTURES)
        ):
            key: dict[str, Scalar] = {
                "size": size,
                "min_face": min_face,
                "faces": kind,
                "batch": batch,
            }
            if not wanted.takes(key):
                continue
            path = _saved(wanted.folder, size, kind, what)
            given = {"pictures": str(path), "zoo": None if wanted.zoo is None else str(wanted.zoo)}
            cases.append(Case(key, "pictures/s", given, group=str(min_face)))
        return cases, []

    def prepare(self, contender: str, case: Case) -> Prepared | None:
        """Load the detector; it sees the pictures in turn."""
        pictures = list(np.load(case.given["pictures"]))
        batch, min_face = int(str(case.key["batch"])), int(str(case.key["min_face"]))
        detect, detail, close = _detector(contender, min_face, case.given)
        seen = 0

        def step() -> float:
            nonlocal seen
            some = [pictures[(seen + i) % len(pictures)] for i in range(batch)]
            seen += batch
            detect(some)
            return batch

        def answer() -> list[list[list[float]]]:
            return [boxes.tolist() for boxes in detect(pictures)]

        # OpenVINO makes a program for a shape when it has come often, on either of two lanes.
        warm = 72 if contender in (FAST, EXACT) else batch
        return Prepared(step, answer, warm, detail, close)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """Each against our exact cascade, which has facenet-pytorch's boxes."""
        if EXACT not in answers:
            return {}
        truth = [np.array(boxes, np.float32).reshape(-1, 4) for boxes in answers[EXACT]]
        return {
            name: compare_boxes(
                truth, [np.array(boxes, np.float32).reshape(-1, 4) for boxes in found]
            )
            for name, found in answers.items()
        }

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """As they are."""
        return list(rows)


def compare_boxes(truth: Sequence[Floats], found: Sequence[Floats]) -> dict[str, Scalar]:
    """What share of the true boxes was found (IoU ≥ 0.5), how many are extra, how well they fit.

    Args:
        truth: N×4 of each picture.
        found: M×4 of each picture.

    Returns:
        ``found`` faces a picture, ``recall`` (None where there is nothing to find), ``extra`` in
        all pictures, and the ``iou`` of the worst and the median pair.
    """
    best: list[float] = []
    extra = 0
    for true, own in zip(truth, found, strict=True):
        overlap = _iou(true, own)
        for row in overlap:
            best.append(float(row.max()) if row.size else 0.0)
        extra += int((overlap.max(axis=0, initial=0.0) < 0.5).sum()) if len(own) else 0
    matched = [iou for iou in best if iou >= 0.5]
    return {
        "found": round(sum(map(len, found)) / len(found), 2),
        "recall": round(len(matched) / len(best), 4) if best else None,
        "extra": extra,
        "iou_least": round(min(matched), 4) if matched else None,
        "iou_median": round(float(np.median(matched)), 4) if matched else None,
    }


def _iou(a: Floats, b: Floats) -> NDArray[np.float64]:
    """N×M."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=2).astype(np.float64)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1).astype(np.float64) for x in (a, b))
    return np.asarray(inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-9), np.float64)


def _saved(folder: Path, size: str, kind: str, what: Path | int) -> Path:
    """The pictures as a file that all contenders read."""
    path = folder / f"{size}-{kind}.npy"
    if not path.exists():
        width, height = next(value for name, value in SIZES.items() if name == size)
        pictures = (
            render((width, height), what, count=PICTURES)
            if isinstance(what, int)
            else frames(what, height=height, count=PICTURES)
        )
        np.save(path, pictures)
    return path


def _detector(
    contender: str, min_face: int, given: Mapping[str, Any]
) -> tuple[Detect, dict[str, Any], Callable[[], None]]:
    if contender in (FACENET, FACENET_CUDA):
        device: Literal["cpu", "cuda"] = "cuda" if contender == FACENET_CUDA else "cpu"
        return _facenet(min_face, device), {"backend": "torch", "device": device}, lambda: None
    if contender == YUNET_NAME:
        return _yunet(Path(given["zoo"])), {"backend": "opencv dnn", "device": "cpu"}, lambda: None
    if contender == RESIDENT:
        return _resident(min_face)
    from ...detection.mtcnn.detector import Mtcnn

    # Where there is a GPU, the default would be the resident detector.
    detector = Mtcnn(
        mode="fast" if contender == FAST else "exact",
        min_face=min_face,
        serving=Serving(device="cpu"),
    )

    def detect(images: list[Image]) -> list[Floats]:
        if len(images) == 1:
            return [detector.detect(images[0]).boxes]
        return [found.boxes for found in detector.detect_batch(images)]

    return detect, {"backend": detector.backend, "device": "cpu"}, detector.close


def _facenet(min_face: int, device: Literal["cpu", "cuda"]) -> Detect:
    from ..facenet import facenet_mtcnn

    mtcnn = facenet_mtcnn(min_face=min_face, device=device)

    def detect(images: list[Image]) -> list[Floats]:
        batch = np.stack([image[..., ::-1] for image in images])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            boxes, _ = mtcnn.detect(batch)
        return [_as_boxes(found) for found in boxes]

    return detect


def _yunet(zoo: Path) -> Detect:
    """One picture after another: YuNet takes no batches."""
    import cv2

    detector = cv2.FaceDetectorYN.create(str(zoo / YUNET), "", (320, 320), 0.6)

    def detect(images: list[Image]) -> list[Floats]:
        out = []
        for image in images:
            detector.setInputSize((image.shape[1], image.shape[0]))
            # OpenCV's stubs do not say that nothing found is None.
            found: Any = detector.detect(image)[1]
            boxes = np.zeros((0, 4), np.float32) if found is None else found[:, :4].copy()
            boxes[:, 2:] += boxes[:, :2]
            out.append(boxes)
        return out

    return detect


def _lacks_resident() -> Missing | None:
    """Why the detector that stays on the GPU cannot run here."""
    torch = lacks_modules("detect", RESIDENT, ("torch", "onnx"), "pip install 'facestream[gpu]'")
    return torch or lacks_cuda("detect", RESIDENT)


def _resident(min_face: int) -> tuple[Detect, dict[str, Any], Callable[[], None]]:
    from ...detection.resident import ResidentDetector

    detector = ResidentDetector(min_face=min_face)

    def detect(images: list[Image]) -> list[Floats]:
        return [found.boxes for found in detector.detect_batch(images)]

    return detect, {"backend": "torch", "device": "cuda"}, detector.close


def _as_boxes(found: Any) -> Floats:
    return np.zeros((0, 4), np.float32) if found is None else np.asarray(found, np.float32)


SUITE = DetectSuite()
