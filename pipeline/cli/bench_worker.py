"""One measurement of ``facestream bench`` in a fresh process.

A fresh process has its own peak memory and its own start. The request is JSON on standard input,
the answer is the last line of standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import Pipeline, Settings
from ..core.errors import FacestreamError
from ..core.types import FrameResult
from ..sinks.base import Sink
from ..sources import open_source


def measure(what: Literal["start", "run"], video: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Measure in a fresh process: ``start`` is the time to the first result, ``run`` the rest.

    Args:
        what: see above.
        video: the file.
        values: settings by dotted key.

    Raises:
        FacestreamError: the process failed; the message is its last line.
    """
    request = {"what": what, "video": str(video), "values": values, "asked_at": time.time()}
    ran = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise FacestreamError(f"the bench of {video} failed: {lines[-1]}")
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


class _Latencies(Sink):
    """Seconds from the decoding of each searched frame to its result."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def write(self, result: FrameResult) -> None:
        if result.detected:
            self.seconds.append(time.monotonic() - result.frame.captured_at)


def _start(video: Path, settings: Settings, asked_at: float) -> dict[str, Any]:
    """Imports, networks, opening and the first batch."""
    with Pipeline([video], settings=settings) as pipeline:
        next(iter(pipeline))
        return {"seconds": time.time() - asked_at}


def _run(video: Path, settings: Settings) -> dict[str, Any]:
    """The whole video, after a warm-up on its first frame."""
    with open_source(video) as source:
        first = next(iter(source)).image
    latencies = _Latencies()
    with Pipeline([video], settings=settings, sinks=[latencies], frames="searched") as pipeline:
        pipeline.warm_up(first)
        report = pipeline.run()
    p50, p95 = (1000 * float(v) for v in np.quantile(latencies.seconds, [0.5, 0.95]))
    return {
        "fps": report.fps,
        "frames": report.frames,
        "faces": report.faces,
        "embedded": report.embedded,
        "seconds": report.seconds,
        "latency_p50_ms": p50,
        "latency_p95_ms": p95,
        "peak_memory_mb": report.peak_memory_bytes / 2**20,
        "stage_shares": {
            name: round(stage.seconds / report.seconds, 4) for name, stage in report.stages.items()
        },
        "limiting_queue": report.limiting_queue,
        "backends": report.backends,
    }


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    video, settings = Path(request["video"]), Settings().with_values(request["values"])
    if request["what"] == "start":
        answer = _start(video, settings, request["asked_at"])
    else:
        answer = _run(video, settings)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
