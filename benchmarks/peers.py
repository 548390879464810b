"""Other libraries: which are here, how to get the others, and OpenCV's YuNet and SFace."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.engines.cards import MODELS, load_card
from facestream.engines.devices import driver_report
from facestream.pipeline.cli.bench_results import Missing
from facestream.pipeline.core.types import Floats, Image

YUNET, SFACE = "face_detection_yunet_2023mar.onnx", "face_recognition_sface_2021dec.onnx"
FACENET = "facenet-pytorch"
FACENET_CUDA = "facenet-pytorch cuda"
EXTRA = "pip install 'facestream[bench]'"
ZOO = (
    "download them from https://github.com/opencv/opencv_zoo (models/face_detection_yunet and "
    "models/face_recognition_sface) and name their folder with --zoo"
)


def lacks_modules(suite: str, name: str, modules: Sequence[str], install: str) -> Missing | None:
    """Why a contender that needs these modules cannot run, or None."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if not absent:
        return None
    return Missing(suite, name, f"not installed: {', '.join(absent)}", install)


def lacks_facenet(suite: str) -> Missing | None:
    """Why facenet-pytorch cannot run, or None."""
    return lacks_modules(suite, FACENET, ("torch", "facenet_pytorch"), EXTRA)


def lacks_cuda(suite: str, name: str) -> Missing | None:
    """Why nothing can run on a CUDA device, or None."""
    report = driver_report()
    if report.devices:
        return None
    return Missing(suite, name, report.problem or "no CUDA device", "needs an NVIDIA GPU")


def lacks_zoo(suite: str, zoo: Path | None, files: Sequence[str], name: str) -> Missing | None:
    """Why OpenCV Zoo's networks cannot run, or None."""
    if zoo is None:
        return Missing(suite, name, "its ONNX files are not part of OpenCV", ZOO)
    absent = [file for file in files if not (zoo / file).is_file()]
    if not absent:
        return None
    return Missing(suite, name, f"{zoo} lacks {' and '.join(absent)}", ZOO)


class YunetSface:
    """OpenCV's FaceDetectorYN and FaceRecognizerSF with their defaults and threads.

    Args:
        zoo: the folder of both ONNX files.
    """

    def __init__(self, zoo: Path) -> None:
        self._detector = cv2.FaceDetectorYN.create(str(zoo / YUNET), "", (320, 320), 0.6)
        sface = zoo / SFACE
        self._recogniser = cv2.FaceRecognizerSF.create(str(sface), "") if sface.is_file() else None

    def detect(self, image: Image) -> Floats:
        """Faces N×15: x, y, width, height, landmarks and score."""
        self._detector.setInputSize((image.shape[1], image.shape[0]))
        # OpenCV returns None for no face, which its stubs do not say.
        found: Any = self._detector.detect(image)[1]
        return np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32)

    def embed(self, image: Image, face: Floats) -> Floats:
        """The feature of one row of ``detect``, 128 values of length 1."""
        if self._recogniser is None:
            raise FileNotFoundError(SFACE)
        crop = self._recogniser.alignCrop(image, face)
        feature = np.asarray(self._recogniser.feature(crop), np.float32)[0]
        return np.asarray(feature / np.linalg.norm(feature), np.float32)


def corners(faces: Floats) -> Floats:
    """Boxes N×4 (left, top, right, bottom) of faces as YuNet returns them."""
    boxes = faces[:, :4].copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def onnxruntime_encoder(threads: int | None = None) -> tuple[Callable[[Image], Floats], str]:
    """The shipped encoder's ONNX file in ONNX Runtime; pictures are converted by numpy.

    Returns:
        A function from crops N×112×112×3 to embeddings N×D, and the provider that serves.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(MODELS / load_card("vae_encoder").file),
        options,
        providers=[
            name
            for name in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if name in onnxruntime.get_available_providers()
        ],
    )
    name = session.get_inputs()[0].name

    def embed(faces: Image) -> Floats:
        planes = faces[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        mu = session.run(["mu"], {name: np.ascontiguousarray(planes)})[0]
        return np.asarray(mu, np.float32)

    return embed, str(session.get_providers()[0])
