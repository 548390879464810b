"""Face detection alone: our MTCNN, fast and exact, beside facenet-pytorch's, in one run.

    python benchmarks/detect.py --json benchmarks/results/detect.json

Each round gives every contender frames of the video that it has not seen before, brought to the
size under test, and the contenders take turns, so that a machine that slows down slows all of
them. Ratios are taken within a round; medians over the rounds and videos are reported. Decoding
and resizing are not counted. Uses the clips of ../shared/data where no video is named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.bench.facenet import facenet_detect, facenet_mtcnn
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.mtcnn.cascade import output, propose, refine
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.mtcnn.networks import Networks
from facestream.pipeline.detection.mtcnn.proposals import pyramid
from facestream.pipeline.detection.mtcnn.sampling import AreaSampler
from facestream.pipeline.detection.mtcnn.worker_pool import alone

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "videos"
SIZES = {"480p": 480, "720p": 720, "1080p": 1080}

# Frames that the pipeline sends to the detector at a time.
BATCH = 4

Detect = Callable[[list[Image]], object]


def frames(video: Path, height: int) -> Iterator[Image]:
    """The video's frames at this height, once through and then again from its start."""
    while True:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                image = frame.to_ndarray(format="bgr24")
                size = (round(image.shape[1] * height / image.shape[0] / 2) * 2, height)
                shrinks = height < image.shape[0]
                how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                yield np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def batched(detector: Mtcnn) -> Detect:
    """Frames a few at a time, as the pipeline does."""

    def detect(images: list[Image]) -> None:
        for start in range(0, len(images), BATCH):
            detector.detect_batch(images[start : start + BATCH])

    return detect


def peer(min_face: int) -> Detect:
    """facenet-pytorch's MTCNN.detect, a frame at a time: its batches are not quicker."""
    mtcnn = facenet_mtcnn(min_face=min_face)

    def detect(images: list[Image]) -> None:
        for image in images:
            facenet_detect(mtcnn, np.ascontiguousarray(image[:, :, ::-1]))

    return detect


def seconds(detect: Detect, images: list[Image]) -> float:
    """Seconds a frame."""
    start = time.perf_counter()
    detect(images)
    return (time.perf_counter() - start) / len(images)


def measure(video: Path, height: int, min_face: int, rounds: int, count: int) -> dict[str, Any]:
    """Frames a second of each contender, and the ratios within each round."""
    contenders: dict[str, Detect] = {}
    with (
        Mtcnn(mode="fast", min_face=min_face) as fast,
        Mtcnn(mode="exact", min_face=min_face) as exact,
    ):
        contenders = {
            "fast": batched(fast),
            "fast_single": lambda images: [fast.detect(image) for image in images],
            "exact": batched(exact),
            "facenet-pytorch": peer(min_face),
        }
        source = frames(video, height)
        for detect in contenders.values():  # compiles for this size
            detect(list(islice(source, 2 * BATCH)))
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            images = list(islice(source, count))
            for name, detect in contenders.items():
                times[name].append(seconds(detect, images))
    base = times["facenet-pytorch"]
    return {
        "video": video.name,
        "height": height,
        "min_face": min_face,
        "fps": {name: round(1 / statistics.median(values), 1) for name, values in times.items()},
        "times_facenet_pytorch": {
            name: round(statistics.median(b / a for a, b in zip(values, base, strict=True)), 2)
            for name, values in times.items()
        },
        "stages_ms": stages(video, height, min_face),
    }


def stages(video: Path, height: int, min_face: int, count: int = 8) -> dict[str, float]:
    """Where one thread's time goes, in ms a frame (medians)."""
    networks = Networks(Serving(backend="openvino", threads=1), screen=True)
    team = alone(networks)
    images = list(islice(frames(video, height), count))
    levels = pyramid(*images[0].shape[:2], min_face=min_face, factor=0.709)
    spent: dict[str, list[float]] = {}
    for image in [*images, *images]:
        marks = [time.perf_counter()]
        sampler = AreaSampler(image)
        marks.append(time.perf_counter())
        boxes = propose(sampler, levels, team, threshold=0.6)
        marks.append(time.perf_counter())
        boxes = refine(sampler, boxes, team, threshold=0.7)
        marks.append(time.perf_counter())
        output(sampler, boxes, team, threshold=0.7)
        marks.append(time.perf_counter())
        for name, passed in zip(("table", "pnet", "rnet", "onet"), np.diff(marks), strict=True):
            spent.setdefault(name, []).append(float(passed) * 1e3)
    networks.close()
    return {name: round(statistics.median(values[count:]), 2) for name, values in spent.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--min-face", nargs="+", type=int, default=[40])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=8, help="frames a round")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    videos = given.videos or sorted(DATA.glob("*.mp4"))
    if not videos:
        print("no videos: name some, or put the research data into ../shared/data")
        return 2
    results = []
    for size in given.sizes:
        for min_face in given.min_face:
            for video in videos:
                row = measure(video, SIZES[size], min_face, given.rounds, given.frames)
                results.append(row)
                print(f"{size} min_face {min_face} {video.name}: {row['fps']} fps,")
                print(
                    f"    × facenet-pytorch {row['times_facenet_pytorch']}, {row['stages_ms']} ms"
                )
    summary = summarise(results)
    for line in summary:
        print(line)
    report = {
        "machine": {"cpu": platform.processor(), "cores": len(os.sched_getaffinity(0))},
        "results": results,
        "summary": summary,
    }
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def summarise(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the videos for each size and smallest face."""
    keys = sorted({(row["height"], row["min_face"]) for row in results})
    summary = []
    for height, min_face in keys:
        rows = [r for r in results if (r["height"], r["min_face"]) == (height, min_face)]
        line: dict[str, Any] = {"height": height, "min_face": min_face}
        for part in ("fps", "times_facenet_pytorch"):
            line[part] = {
                name: round(statistics.median(row[part][name] for row in rows), 2)
                for name in rows[0][part]
            }
        summary.append(line)
    return summary


if __name__ == "__main__":
    sys.exit(main())
