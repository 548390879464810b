"""The detector that stays on the device, by size of picture, smallest face and batch.

    python benchmarks/resident.py --json benchmarks/results/resident.json

Frames of the videos, brought to the size under test, are searched in batches: once from the
host's memory (uploaded each time, which PCIe bounds: a 1080p frame has 6.2 MB) and once from
tensors that are on the device already. Before a time is taken a batch of the kind is searched 40
times, so that its lists are long enough and, on a CUDA device, the search is recorded. The median
over the rounds is reported, beside the share of batches that had to be searched again. Decoding
and resizing are not counted. Uses the clips of ../shared/data where no video is named.

Says which device it ran on: without a CUDA device that is torch on the CPU, for which this search
is not made (``Mtcnn`` takes the other one there).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from facestream.engines.options import Serving
from facestream.pipeline.bench.machine import describe
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.resident import ResidentDetector
from facestream.pipeline.detection.resident.networks import find_device

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "videos"
SIZES = {"480p": 480, "720p": 720, "1080p": 1080}

# As often as a search must come before it is recorded, and some.
WARM_UP = 40

Search = Callable[[], list[Faces]]


def frames(video: Path, height: int, count: int) -> list[Image]:
    """The video's first frames at this height, spread over two seconds."""
    found: list[Image] = []
    with av.open(str(video)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % 4 == 0:
                image = frame.to_ndarray(format="bgr24")
                width = round(image.shape[1] * height / image.shape[0] / 2) * 2
                found.append(np.asarray(cv2.resize(image, (width, height)), np.uint8))
            if len(found) == count:
                break
    return [found[index % len(found)] for index in range(count)]


def measure(
    detector: ResidentDetector, images: list[Image], rounds: int, warm_up: int
) -> dict[str, Any]:
    """Frames a second from the host and from the device."""
    on_device = torch.from_numpy(np.stack(images)).to(detector.device)
    ways: dict[str, Search] = {
        "from_host": lambda: detector.detect_batch(images),
        "on_device": lambda: detector.detect_tensor(on_device),
    }
    for search in ways.values():
        for _ in range(warm_up):
            found = search()
    before = detector.counts
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, search in ways.items():
            start = time.perf_counter()
            found = search()  # comes back with the faces on the host: nothing is under way
            times[name].append((time.perf_counter() - start) / len(images))
    batches = detector.counts.batches - before.batches
    return {
        "fps": {name: round(1 / statistics.median(values), 1) for name, values in times.items()},
        "faces_a_frame": round(sum(map(len, found)) / len(images), 2),
        "searched_again": round((detector.counts.repeated - before.repeated) / batches, 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--min-face", nargs="+", type=int, default=[20, 40])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16, 32])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="searches before the first")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--memory", type=int, default=16, help="GiB that a batch may take")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    videos = given.videos or sorted(DATA.glob("*.mp4"))
    if not videos:
        print("no videos: name some, or put the research data into ../shared/data")
        return 2
    report: dict[str, Any] = {
        "machine": describe(),
        "runs_on": f"torch {torch.__version__}, {find_device(given.device)}",
        "results": [],
    }
    print(report["runs_on"])
    serving = Serving(backend="torch", device=given.device)
    for min_face in given.min_face:
        with ResidentDetector(
            min_face=min_face, serving=serving, memory=given.memory << 30
        ) as detector:
            for size in given.sizes:
                for video in videos:
                    for batch in given.batches:
                        images = frames(video, SIZES[size], batch)
                        row = {
                            "video": video.name,
                            "size": size,
                            "min_face": min_face,
                            "batch": batch,
                            **measure(detector, images, given.rounds, given.warm_up),
                        }
                        report["results"].append(row)
                        print(row)
    text = json.dumps(report, indent=2) + "\n"
    print(text)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
