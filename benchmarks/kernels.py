"""The detector by its kernels in C beside the same detector on OpenVINO, frame by frame in turn.

    python -m benchmarks kernels VIDEO --json benchmarks/results/kernels.json

One process, all detectors open; each frame is searched by every one of them before the next frame
comes, so that a busy machine slows all alike. ``times`` is the median over the frames of the ratio
of two neighbours; CPU time is that of the process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.cli.bench_results import describe_machine
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn import kernels
from facestream.pipeline.detection.mtcnn.detector import KernelChoice, Mode, Mtcnn

Key = tuple[int, Mode, KernelChoice]
MODES: tuple[Mode, ...] = ("exact", "fast")
CHOICES: tuple[KernelChoice, ...] = ("auto", "off")


def measure(pictures: Sequence[Image], threads: Sequence[int], min_face: int) -> dict[str, Any]:
    """Times of each detector, and by how much their boxes differ, in pixels."""
    wall: dict[Key, list[float]] = {key: [] for key in product(threads, MODES, CHOICES)}
    cpu: dict[Key, list[float]] = {key: [] for key in wall}
    worst, others, faces = 0.0, 0, 0
    with ExitStack() as opened:
        detectors = {key: opened.enter_context(_detector(key, min_face)) for key in wall}
        for detector in detectors.values():
            for picture in pictures[:3]:
                detector.detect(picture)
        for picture in pictures:
            found: dict[Key, Faces] = {}
            for key, detector in detectors.items():
                began, used = time.perf_counter(), time.process_time()
                found[key] = detector.detect(picture)
                wall[key].append(time.perf_counter() - began)
                cpu[key].append(time.process_time() - used)
            for key, own in found.items():
                expected = found[threads[0], key[1], "off"]
                faces += len(expected)
                if len(own) != len(expected):
                    others += 1
                else:
                    worst = max(worst, float(np.abs(own.boxes - expected.boxes).max(initial=0)))
        backends = {key: detector.backend for key, detector in detectors.items()}
    rows = [_row(key, backends[key], wall, cpu) for key in wall]
    least, most = threads[0], threads[-1]
    return {
        "rows": rows,
        "times_by_threads": {
            mode: _times(wall[least, mode, "auto"], wall[most, mode, "auto"]) for mode in MODES
        },
        "fast_by_exact": _times(wall[least, "fast", "auto"], wall[least, "exact", "auto"]),
        "faces": faces,
        "searches_with_other_faces": others,
        "worst_difference_px": round(worst, 5),
    }


def _detector(key: Key, min_face: int) -> Mtcnn:
    threads, mode, choice = key
    return Mtcnn(mode=mode, min_face=min_face, serving=Serving(threads=threads), kernels=choice)


def _row(
    key: Key, backend: str, wall: dict[Key, list[float]], cpu: dict[Key, list[float]]
) -> dict[str, Any]:
    threads, mode, _ = key
    off: Key = (threads, mode, "off")
    return {
        "threads": threads,
        "mode": mode,
        "backend": backend,
        "ms_median": round(float(np.median(wall[key])) * 1e3, 1),
        "ms_least": round(min(wall[key]) * 1e3, 1),
        "cpu_ms_median": round(float(np.median(cpu[key])) * 1e3, 1),
        "times": _times(wall[off], wall[key]),
        "times_cpu": _times(cpu[off], cpu[key]),
    }


def _times(slower: Sequence[float], faster: Sequence[float]) -> float:
    return round(float(np.median(np.divide(slower, faster))), 2)


def _pictures(video: Path, count: int) -> Iterator[Image]:
    """Every fifth frame."""
    capture = cv2.VideoCapture(str(video))
    for _ in range(count):
        good, picture = capture.read()
        if not good:
            return
        yield np.asarray(picture, np.uint8)
        for _ in range(4):
            capture.grab()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks kernels", description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--min-face", type=int, default=40)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--note", default="")
    given = parser.parse_args(arguments)
    problem = kernels.missing()
    if problem is not None:
        print(f"benchmarks: {problem}")
        return 2
    pictures = list(_pictures(given.video, given.frames))
    result = {
        "machine": describe_machine(),
        "note": given.note,
        "video": given.video.name,
        "size": "×".join(map(str, pictures[0].shape[1::-1])),
        "frames": len(pictures),
        "min_face": given.min_face,
        "variant": kernels.chosen(),
        **measure(pictures, given.threads, given.min_face),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0
