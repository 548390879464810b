"""A good camera beside one that costs much: what the good one loses.

The good camera is a clip with enrolled people over RTSP. The other one is none (``alone``), a crowd
whose faces change place in every frame (``crowd``), or has very large pictures (``large``,
``huge``). Each run is a process of its own; the cameras are served from others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.pipeline import Gallery, Pipeline, Settings
from facestream.pipeline.core.events import Event, Identified
from facestream.pipeline.core.types import FrameResult, Image
from facestream.pipeline.metrics.store import memory_bytes
from facestream.pipeline.sinks.base import Sink
from facestream.pipeline.sources import SourceSpec

from tests.servers.clips import looped
from tests.servers.rtsp import RtspServer
from tests.servers.web import WebServer

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 25.0
WARM_UP = 15.0
FACES = 100
CASES: dict[str, tuple[tuple[int, int], float, int]] = {
    "crowd": ((1920, 1080), 15.0, 30),
    "large": ((5760, 4320), 5.0, 4),
    "huge": ((9000, 9000), 2.0, 2),
}
"""Width and height of the other camera, its frames a second, and how many differ."""
VIDEOS = ("large", "huge")
"""They send H.264, the other one JPEG."""


class Counts(Sink):
    """What the good camera gives in the measured time, and how often the other is served."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.names = 0
        self.ages: list[float] = []
        self.frames: dict[str, int] = {}
        self.faces: dict[str, int] = {}

    @property
    def passed(self) -> float:
        """Seconds since the first frame of the good camera."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def counting(self) -> bool:
        return WARM_UP <= self.passed < WARM_UP + SECONDS

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        if self.began is None and frame.source == "good":
            self.began = time.monotonic()
        if self.counting:
            self.frames[frame.source] = self.frames.get(frame.source, 0) + 1
            self.faces[frame.source] = self.faces.get(frame.source, 0) + len(result.faces)
            if frame.source == "good":
                self.ages.append(time.monotonic() - frame.captured_at)

    def event(self, event: Event) -> None:
        if isinstance(event, Identified) and event.source == "good" and self.counting:
            self.names += 1


def crowd(faces: Sequence[Image], size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A picture with ``FACES`` faces at other places and in another order each time."""
    image = np.full((1080, 1920, 3), 90, np.uint8)
    columns, rows, side = 14, 8, 120
    for place in rng.permutation(columns * rows)[:FACES].tolist():
        x = place % columns * (1920 // columns) + int(rng.integers(0, 1920 // columns - side))
        y = place // columns * (1080 // rows) + int(rng.integers(0, 1080 // rows - side))
        image[y : y + side, x : x + side] = faces[int(rng.integers(len(faces)))]
    return image if size == (1920, 1080) else np.asarray(cv2.resize(image, size), np.uint8)


def faces_of(path: Path, count: int) -> list[Image]:
    """Pictures of faces from a zip of them."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith((".webp", ".jpg"))][:count]
        found = [cv2.imdecode(np.frombuffer(archive.read(n), np.uint8), 1) for n in names]
    return [np.asarray(cv2.resize(one, (120, 120)), np.uint8) for one in found if one is not None]


@contextmanager
def served(case: str, video: Path, faces: Path, folder: Path) -> Iterator[dict[str, str]]:
    """URLs of the cameras by name."""
    rng = np.random.default_rng(1)
    with ExitStack() as stack:
        clip = looped(video, folder / "good.mkv", seconds=120)
        mounts = {"/good": clip}
        pictures: list[bytes] = []
        size, fps, count = CASES.get(case, ((0, 0), 1.0, 0))
        if count:
            pool = faces_of(faces, 600)
            pictures = [
                cv2.imencode(".jpg", crowd(pool, size, rng))[1].tobytes() for _ in range(count)
            ]
        if case in VIDEOS:
            mounts["/other"] = looped(
                encoded(pictures, fps, folder), folder / "other.mkv", seconds=120
            )
        rtsp = stack.enter_context(RtspServer(mounts))
        urls = {"good": rtsp.url("/good")}
        if case in VIDEOS:
            urls["other"] = rtsp.url("/other")
        elif count:
            web = stack.enter_context(WebServer(folder, pictures=pictures, fps=fps))
            urls["other"] = web.url("/mjpeg")
        yield urls


def encoded(pictures: Sequence[bytes], fps: float, folder: Path) -> Path:
    """The pictures as H.264."""
    for number, picture in enumerate(pictures):
        (folder / f"{number:03}.jpg").write_bytes(picture)
    out = folder / "other.mp4"
    command = ["ffmpeg", "-v", "error", "-y", "-framerate", str(fps), "-i", folder / "%03d.jpg"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "4", out]
    subprocess.run([*map(str, command)], check=True, stdin=subprocess.DEVNULL)
    return out


def watch(urls: dict[str, str], people: Path) -> dict[str, Any]:
    """Watch the cameras in this process."""
    counts = Counts()
    specs = [SourceSpec("url", url, name) for name, url in urls.items()]
    with (
        Gallery(people) as gallery,
        Pipeline(specs, gallery=gallery, settings=Settings(), sinks=[counts]) as pipeline,
    ):
        limit = time.monotonic() + WARM_UP + SECONDS + 60

        def stop() -> None:
            while counts.passed < WARM_UP + SECONDS and time.monotonic() < limit:
                time.sleep(0.1)
            pipeline.stop()

        threading.Thread(target=stop, daemon=True).start()
        report = pipeline.run()
    ages = counts.ages or [float("inf")]
    return {
        "identified": counts.names,
        "age_p50": round(float(np.quantile(ages, 0.5)), 3),
        "age_p95": round(float(np.quantile(ages, 0.95)), 3),
        "frames": counts.frames,
        "faces": counts.faces,
        "peak_megabytes": memory_bytes()["peak"] // 1_000_000,
        "problems": list(report.problems),
    }


def measure(case: str, video: Path, faces: Path, people: Path) -> dict[str, Any]:
    """One case in a fresh process."""
    with tempfile.TemporaryDirectory() as folder, served(case, video, faces, Path(folder)) as urls:
        command = [sys.executable, "-m", "benchmarks.fair_share", "--watch", json.dumps(urls)]
        done = subprocess.run(
            [*command, "--people", str(people)], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"case": case, **found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m benchmarks fair-share", description=__doc__)
    parser.add_argument("--video", type=Path, help="the good camera's clip (H.264)")
    parser.add_argument("--people", type=Path, required=True, help="a folder for each person")
    parser.add_argument("--faces", type=Path, help="a zip of aligned faces for the crowd")
    parser.add_argument("--cases", nargs="+", default=["alone", *CASES], help="default: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.watch:
        print(json.dumps(watch(json.loads(options.watch), options.people)))
        return 0
    if options.video is None or options.faces is None:
        parser.error("--video and --faces are needed")
    with tempfile.TemporaryDirectory() as folder:
        people = Path(folder) / "people.db"
        with Gallery(people) as gallery:
            for person in sorted(p for p in options.people.iterdir() if not p.name.startswith("_")):
                for photo in sorted(person.iterdir()):
                    list(gallery.add(person.name, photo))
        rows = []
        for _ in range(options.rounds):
            for case in options.cases:
                rows.append(measure(case, options.video, options.faces, people))
                print(json.dumps(rows[-1]), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
