"""Which peers are here, and how to get those that are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from facestream.engines.devices import driver_report

from .results import Missing

FACENET = "facenet-pytorch"
FACENET_CUDA = "facenet-pytorch cuda"
EXTRA = "pip install 'facestream[bench]'"
ZOO = (
    "download them from https://github.com/opencv/opencv_zoo (models/face_detection_yunet and "
    "models/face_recognition_sface) and name their folder with --zoo"
)


def lacks_modules(suite: str, name: str, modules: Sequence[str], install: str) -> Missing | None:
    """Why a peer that needs these modules cannot run, or None."""
    lacking = [module for module in modules if importlib.util.find_spec(module) is None]
    if not lacking:
        return None
    return Missing(suite, name, f"not installed: {', '.join(lacking)}", install)


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
    lacking = [file for file in files if not (zoo / file).is_file()]
    if not lacking:
        return None
    return Missing(suite, name, f"{zoo} lacks {' and '.join(lacking)}", ZOO)
