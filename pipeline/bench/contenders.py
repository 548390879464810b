"""What is measured: facestream and its peers, each over the same video in the same way.

Every contender loads its networks, warms up on the first frame, and is then timed over all
frames, decoding included.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..core.types import Image
from .energy import Meters
from .nvml import Nvml

YUNET, SFACE = "face_detection_yunet_2023mar.onnx", "face_recognition_sface_2021dec.onnx"


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender is to do.

    Attributes:
        video: the file.
        max_frames: stop after so many.
        min_face: smallest face in pixels, where the contender has such a setting.
        zoo: folder with the ONNX files of YuNet and SFace, for that peer.
        looks: facestream's ``encoder.looks``.
        detect_every: search every N-th frame.
        asked_at: when the process was asked for, seconds since the epoch.
        more: further files, looked at at the same time; ``max_frames`` holds for each.
    """

    video: Path
    max_frames: int | None = None
    min_face: int = 40
    zoo: Path | None = None
    looks: str = "budget"
    detect_every: int = 1
    asked_at: float = 0.0
    more: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """What came of it: ``seconds`` for ``frames`` with ``faces`` found, after ``load_seconds``.

    Attributes:
        joules: spent in these seconds, by counter (``energy``); empty without a counter.
        gpu_memory_mb: held on the first GPU; None without one.
    """

    frames: int
    faces: int
    seconds: float
    load_seconds: float
    detail: dict[str, Any] = field(default_factory=dict)
    joules: dict[str, float] = field(default_factory=dict)
    gpu_memory_mb: float | None = None


class _Costs:
    """What is spent beside time: energy from ``begin`` to ``take``, GPU memory from the start."""

    def __init__(self) -> None:
        self._meters, self._nvml = Meters(), Nvml()
        self._memory, self._joules = self._nvml.used_memory_mb(), self._meters.read()

    def begin(self) -> None:
        self._joules = self._meters.read()

    def take(self) -> dict[str, Any]:
        now = self._nvml.used_memory_mb()
        held = None if now is None or self._memory is None else now - self._memory
        return {"joules": self._meters.since(self._joules), "gpu_memory_mb": held}


def contenders() -> dict[str, Callable[[Task], Timing]]:
    """Everything that can be measured, by name."""
    return {
        "facestream": facestream,
        "facestream-every": facestream_every,
        "facestream-start": facestream_start,
        "yunet+sface": yunet_sface,
        "facenet-pytorch": facenet_pytorch,
    }


def missing(name: str, task: Task) -> str | None:
    """Why a contender cannot run here, or None."""
    if name == "yunet+sface":
        if task.zoo is None:
            return "needs the folder with OpenCV Zoo's models (--zoo)"
        lacking = [f for f in (YUNET, SFACE) if not (task.zoo / f).is_file()]
        return f"{task.zoo} lacks {' and '.join(lacking)}" if lacking else None
    if name == "facenet-pytorch":
        lacking = [m for m in ("torch", "facenet_pytorch") if importlib.util.find_spec(m) is None]
        return f"not installed: {', '.join(lacking)} (the 'bench' extra)" if lacking else None
    return None


def frames_of(task: Task) -> Iterator[Image]:
    """The video's frames, H×W×3 BGR uint8, decoded by all cores."""
    for image in searched_frames(replace(task, detect_every=1)):
        if image is not None:
            yield image


def searched_frames(task: Task) -> Iterator[Image | None]:
    """Every frame is decoded; those that are not searched are None and never converted.

    Of several files in turn: a frame of each.
    """
    open_ones = [_frames(video, task) for video in (task.video, *task.more)]
    while open_ones:
        for frames in list(open_ones):
            try:
                image = next(frames)
            except StopIteration:
                open_ones.remove(frames)
            else:
                yield image


def _frames(video: Path, task: Task) -> Iterator[Image | None]:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number == task.max_frames:
                return
            if number % task.detect_every:
                yield None
            else:
                yield frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)


def facestream(task: Task) -> Timing:
    """The whole pipeline without a gallery; frames that are not searched are decoded only."""
    from ..core.config import Settings
    from ..pipeline import Pipeline

    settings = Settings().with_values(
        {
            "detector.min_face": task.min_face,
            "encoder.looks": task.looks,
            "tracking.detect_every": task.detect_every,
            **({"runtime.max_frames": task.max_frames} if task.max_frames else {}),
        }
    )
    start = time.perf_counter()
    costs = _Costs()
    videos = [task.video, *task.more]
    with Pipeline(videos, settings=settings, frames="searched") as pipeline:
        pipeline.warm_up(next(frames_of(task)))
        costs.begin()
        loaded = time.perf_counter()
        report = pipeline.run()
        seconds = time.perf_counter() - loaded
        spent = costs.take()
    detail = {
        "embedded": report.embedded,
        "stages": {name: stage.seconds for name, stage in report.stages.items()},
        "queues": {name: queue.blocked_seconds for name, queue in report.queues.items()},
        "limiting_queue": report.limiting_queue,
        "first_result_seconds": report.first_result_seconds,
        "backends": report.backends,
    }
    return Timing(report.frames, report.faces, seconds, loaded - start, detail, **spent)


def facestream_start(task: Task) -> Timing:
    """From the start of the process to the first result: imports, networks, opening, one batch."""
    from ..core.config import Settings
    from ..pipeline import Pipeline

    settings = Settings().with_values({"detector.min_face": task.min_face})
    with Pipeline([task.video], settings=settings) as pipeline:
        first = next(iter(pipeline))
        seconds = time.time() - task.asked_at
    return Timing(1, len(first.faces), seconds, 0.0)


def facestream_every(task: Task) -> Timing:
    """The same, but every face of every frame is embedded, as the peers do."""
    return facestream(replace(task, looks="every"))


def yunet_sface(task: Task) -> Timing:
    """OpenCV's FaceDetectorYN and FaceRecognizerSF, one after the other, with its own threads."""
    import cv2

    if task.zoo is None:
        raise ValueError("yunet+sface needs the folder of its models")
    start = time.perf_counter()
    first = next(frames_of(task))
    size = (first.shape[1], first.shape[0])
    detector = cv2.FaceDetectorYN.create(str(task.zoo / YUNET), "", size, 0.6)
    recogniser = cv2.FaceRecognizerSF.create(str(task.zoo / SFACE), "")

    def look(image: Image) -> int:
        detector.setInputSize((image.shape[1], image.shape[0]))
        # OpenCV's stubs do not say that nothing found is None.
        found: Any = detector.detect(image)[1]
        if found is None:
            return 0
        for face in found:
            recogniser.feature(recogniser.alignCrop(image, face))
        return len(found)

    look(first)
    return _timed(task, look, time.perf_counter() - start)


def facenet_pytorch(task: Task) -> Timing:
    """facenet-pytorch: MTCNN (keep_all) and InceptionResnetV1 with random weights (cost only)."""
    import torch

    from .facenet import facenet_extract

    start = time.perf_counter()
    extract, encoder = facenet_extract(min_face=task.min_face)

    def look(image: Image) -> int:
        faces = extract(np.ascontiguousarray(image[..., ::-1]))
        if faces is None:
            return 0
        with torch.inference_mode():
            encoder(faces)
        return len(faces)

    look(next(frames_of(task)))
    return _timed(task, look, time.perf_counter() - start)


def _timed(task: Task, look: Callable[[Image], int], load_seconds: float) -> Timing:
    costs = _Costs()
    start = time.perf_counter()
    counts = [0 if image is None else look(image) for image in searched_frames(task)]
    seconds = time.perf_counter() - start
    return Timing(len(counts), sum(counts), seconds, load_seconds, **costs.take())
