"""What searching less of a frame saves: watched regions, smaller pictures, larger faces.

    python benchmarks/views.py --json benchmarks/results/views.json

Each view of a frame is searched in turn, so that a machine that slows down slows all of them;
ratios to the search of the whole are taken frame by frame, medians reported. Shrinking and the
way back are counted, decoding is not. Beside the cost stands how many faces are found of those
that the search of the whole finds where the view looks (overlap above 0.5).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from facestream.engines.options import Serving
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.region import Region, View

CLIP = Path(__file__).resolve().parents[2] / "shared" / "data" / "videos" / "street_crowd_1080p.mp4"

COLUMN = ((1 / 3, 0.0), (2 / 3, 0.0), (2 / 3, 1.0), (1 / 3, 1.0))
BAND = ((0.0, 1 / 3), (1.0, 1 / 3), (1.0, 2 / 3), (0.0, 2 / 3))


def views(height: int) -> dict[str, View]:
    """What is compared, the whole first; faces from 1/18 of the picture's height, 40 at 720."""
    least = height // 18
    return {
        "whole": View(min_face=least),
        "watch: middle third, full height": View(min_face=least, watch=(COLUMN,)),
        "watch: middle third, full width": View(min_face=least, watch=(BAND,)),
        "detect_size 1920": View(min_face=least, size=1920),
        "detect_size 1280": View(min_face=least, size=1280),
        "detect_size 960": View(min_face=least, size=960),
        "detect_size 640": View(min_face=least, size=640),
        "min_face doubled": View(min_face=2 * least),
        "min_face doubled, detect_size 640": View(min_face=2 * least, size=640),
    }


def frames(clip: Path, height: int, count: int) -> list[Image]:
    """Frames of a clip, some way apart, at this height."""
    found: list[Image] = []
    with av.open(str(clip)) as container:
        step = max(1, container.streams.video[0].frames // count)
        for index, frame in enumerate(container.decode(video=0)):
            if index % step == 0 and len(found) < count:
                image = frame.to_ndarray(format="bgr24")
                size = (round(image.shape[1] * height / image.shape[0]), height)
                how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
                found.append(np.asarray(cv2.resize(image, size, interpolation=how), np.uint8))
    return found


def search(region: Region, image: Image, detector: Mtcnn) -> Faces:
    """The faces of a picture, as the detection stage finds them."""
    found = detector.detect_batch([region.cut(image)], min_face=[region.min_face])
    return region.restore(found[0])


def measure(images: list[Image], height: int, rounds: int) -> list[dict[str, Any]]:
    """Cost and faces of each view."""
    regions = {name: v.region(*images[0].shape[:2]) for name, v in views(height).items()}
    times: dict[str, list[float]] = {name: [] for name in regions}
    with Mtcnn(serving=Serving(threads=1)) as detector:
        for region in regions.values():  # compiles for this size
            search(region, images[0], detector)
        for _ in range(rounds):
            for image in images:
                for name, region in regions.items():
                    start = time.perf_counter()
                    search(region, image, detector)
                    times[name].append(time.perf_counter() - start)
        whole = [search(regions["whole"], image, detector) for image in images]
        rows = []
        for name, region in regions.items():
            ratios = [a / b for a, b in zip(times[name], times["whole"], strict=True)]
            found = [search(region, image, detector) for image in images]
            pairs = [matched(f, region.counted(w)) for f, w in zip(found, whole, strict=True)]
            rows.append(
                {
                    "view": name,
                    "height": height,
                    "ms": round(statistics.median(times[name]) * 1e3, 2),
                    "relative": round(statistics.median(ratios), 3),
                    "found": sum(pair[0] for pair in pairs),
                    "of": sum(pair[1] for pair in pairs),
                }
            )
    return rows


def matched(found: Faces, expected: Faces) -> tuple[int, int]:
    """How many of the expected faces are among those found, and how many there are."""
    if not len(expected):
        return 0, 0
    if not len(found):
        return 0, len(expected)
    overlap = iou_matrix(expected.boxes, found.boxes).max(axis=1)
    return int((overlap > 0.5).sum()), len(expected)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=CLIP)
    parser.add_argument("--heights", nargs="+", type=int, default=[720, 2160])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    if not given.clip.is_file():
        print("no clip: name one, or put the research data into ../shared/data")
        return 2
    rows = []
    for height in given.heights:
        for row in measure(frames(given.clip, height, given.frames), height, given.rounds):
            rows.append(row)
            print(
                f"{height}p  {row['view']:34} {row['ms']:7.2f} ms  × {row['relative']:.2f}  "
                f"{row['found']}/{row['of']} faces"
            )
    if given.json is not None:
        report = {
            "machine": {
                "cpu": platform.processor(),
                "cores": len(os.sched_getaffinity(0)),
                "load": os.getloadavg(),
            },
            "clip": given.clip.name,
            "results": rows,
        }
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
