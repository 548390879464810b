"""The service beside the library in process: pictures of 640×480, and processor time of each.

    python -m benchmarks service --json benchmarks/results/service.json

Both have the same networks, settings and gallery; the client is another process. Rounds alternate,
so that work beside them costs both the same. ``cpu_ms`` is what a picture costs the process of the
library or of the service, which other work changes least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.engines.devices import usable_cpus
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.images import decode_photo
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.server.serving import ServiceServer

_CLIENT = """
import sys, time, httpx
url, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
picture = open(path, "rb").read()
with httpx.Client(base_url=url, timeout=120) as client:
    def ask():
        client.post("/api/v1/recognise", files={"image": picture}).raise_for_status()
    ask()
    began = time.perf_counter()
    for _ in range(count):
        ask()
    print(count / (time.perf_counter() - began))
"""


def picture() -> bytes:
    """A JPEG of 640×480 with two faces."""
    canvas = np.full((480, 640, 3), 110, np.uint8)
    for number, portrait in enumerate(portraits()):
        height, width = portrait.image.shape[:2]
        left = 60 + 300 * number
        canvas[120 : 120 + height, left : left + width] = portrait.image
    return bytes(cv2.imencode(".jpg", canvas)[1])


def measure(rounds: int, pictures: int) -> dict[str, Any]:
    """Pictures a second of each round, of the library and of the service."""
    content = picture()
    library: list[float] = []
    service: list[float] = []
    spent: dict[str, list[float]] = {"library": [], "service": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.jpg"
        file.write_bytes(content)
        settings = Settings().with_values({"storage.database": Path(folder) / "house.db"})
        with ServiceServer(settings, Address("127.0.0.1", 0)) as server:
            analyzer = server.service.analyzer
            analyzer.analyze(decode_photo(content))
            for _ in range(rounds):
                began, cpu = time.perf_counter(), time.process_time()
                for _ in range(pictures):
                    analyzer.analyze(decode_photo(content))
                library.append(pictures / (time.perf_counter() - began))
                spent["library"].append((time.process_time() - cpu) / pictures)
                cpu = time.process_time()
                command = [sys.executable, "-c", _CLIENT, server.url, str(file), str(pictures)]
                ran = subprocess.run(command, capture_output=True, text=True, check=True)
                service.append(float(ran.stdout))
                spent["service"].append((time.process_time() - cpu) / (pictures + 1))  # warm-up
    ratios = [theirs / ours for ours, theirs in zip(library, service, strict=True)]
    return {
        "cpus": usable_cpus(),
        "pictures": pictures,
        "library": [round(value, 2) for value in library],
        "service": [round(value, 2) for value in service],
        "cpu_ms": {
            name: round(1000 * statistics.median(values), 1) for name, values in spent.items()
        },
        "ratio": round(statistics.median(ratios), 3),
    }


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--note", default="", help="e.g. what else the machine does")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    found = measure(chosen.rounds, chosen.pictures)
    if chosen.note:
        found["note"] = chosen.note
    text = json.dumps(found, indent=1)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text + "\n", encoding="utf-8")
    return 0
