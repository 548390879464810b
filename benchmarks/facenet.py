"""Imports the real facenet-pytorch without torchvision's wheel.

facenet-pytorch needs two things of torchvision: ``batched_nms`` and ``transforms.functional``.
The registry's torchvision is built for CUDA torch; beside a CPU-only torch its compiled
operators are missing and the import fails. Here stand-ins with the same results take its place
while facenet-pytorch is imported, and are gone from ``sys.modules`` afterwards. The arithmetic
follows torchvision's ``ops/cpu/nms_kernel.cpp`` and ``ops/boxes.py``: scores sorted descending
and stable, a box falls when its IoU with a kept one is greater than the threshold.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """torchvision.ops.nms: kept rows, by descending score."""
    import torch

    order = scores.sort(stable=True, descending=True)[1]
    x1, y1, x2, y2 = boxes[order].cpu().numpy().T.copy()
    areas = (x2 - x1) * (y2 - y1)
    alive = np.arange(len(order))
    keep = []
    while alive.size:
        i, alive = alive[0], alive[1:]
        keep.append(i)
        width = np.minimum(x2[i], x2[alive]) - np.maximum(x1[i], x1[alive])
        height = np.minimum(y2[i], y2[alive]) - np.maximum(y1[i], y1[alive])
        inter = width.clip(min=0) * height.clip(min=0)
        overlap = inter / (areas[i] + areas[alive] - inter)
        # float32 against double, as the C++ kernel compares.
        alive = alive[~(overlap.astype(np.float64) > iou_threshold)]
    return order[torch.as_tensor(np.asarray(keep, np.int64), device=order.device)]


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Any:
    """torchvision.ops.batched_nms: boxes with different ``idxs`` do not see each other."""
    import torch

    if boxes.numel() == 0:
        return torch.empty((0,), dtype=torch.int64, device=boxes.device)
    if boxes.numel() > 4000:
        kept = torch.zeros_like(scores, dtype=torch.bool)
        for index in torch.unique(idxs):
            mine = torch.where(idxs == index)[0]
            kept[mine[nms(boxes[mine], scores[mine], iou_threshold)]] = True
        rows = torch.where(kept)[0]
        return rows[scores[rows].sort(descending=True)[1]]
    offsets = idxs.to(boxes) * (boxes.max() + torch.tensor(1).to(boxes))
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def _to_tensor(picture: Any) -> Any:
    """torchvision.transforms.functional.to_tensor for the float32 H×W×C arrays it is given."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    parts = ("", ".ops", ".ops.boxes", ".transforms", ".transforms.functional")
    modules = {name: types.ModuleType(name) for part in parts if (name := f"torchvision{part}")}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        module.__path__ = []
        if parent:
            setattr(modules[parent], child, module)
    modules["torchvision.ops.boxes"].__dict__.update(nms=nms, batched_nms=batched_nms)
    modules["torchvision.transforms.functional"].__dict__.update(to_tensor=_to_tensor)
    before = {name: module for name, module in sys.modules.items() if _is_torchvision(name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_torchvision(name)]:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def quietly() -> Iterator[None]:
    """Without warnings; facenet-pytorch's changes of the global filters are undone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_torchvision(name: str) -> bool:
    return name == "torchvision" or name.startswith("torchvision.")


@functools.cache
def facenet_pytorch() -> types.ModuleType:
    """The installed facenet-pytorch, as it is.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    with _torchvision_stand_in(), quietly():
        return importlib.import_module("facenet_pytorch")


def facenet_mtcnn(*, min_face: int, device: Literal["cpu", "cuda"] = "cpu") -> Any:
    """facenet-pytorch's MTCNN that keeps all faces, with its defaults otherwise."""
    with quietly():
        return facenet_pytorch().MTCNN(keep_all=True, min_face_size=min_face, device=device)


def facenet_detect(mtcnn: Any, rgb: np.ndarray) -> tuple[Any, Any, Any]:
    """Boxes N×4, probabilities N and landmarks N×5×2 of one RGB picture (uint8 H×W×3)."""
    with quietly():
        boxes, probabilities, landmarks = mtcnn.detect(rgb, landmarks=True)
    if boxes is None:
        return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
    return (
        np.asarray(boxes, np.float32),
        np.asarray(probabilities, np.float32),
        np.asarray(landmarks, np.float32),
    )


def facenet_inception(*, device: Literal["cpu", "cuda"] = "cpu") -> Any:
    """InceptionResnetV1 with random weights (its own are a download): cost only, no accuracy."""
    with quietly():
        return facenet_pytorch().InceptionResnetV1(pretrained=None).eval().to(device)
