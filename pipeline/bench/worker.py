"""One measurement in a process of its own: a request on standard input, JSON on standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..metrics import peak_memory_bytes
from .contenders import Task, contenders


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Measure what the request names."""
    wanted = dict(request["task"])
    wanted["video"] = Path(wanted["video"])
    wanted["zoo"] = None if wanted["zoo"] is None else Path(wanted["zoo"])
    wanted["more"] = tuple(Path(video) for video in wanted.get("more", ()))
    task = Task(**wanted)
    timing = contenders()[request["name"]](task)
    return {
        "name": request["name"],
        "video": task.video.name,
        "frames": timing.frames,
        "faces": timing.faces,
        "seconds": timing.seconds,
        "fps": timing.frames / timing.seconds,
        "load_seconds": timing.load_seconds,
        "peak_memory_mb": peak_memory_bytes() / 2**20,
        "gpu_memory_mb": timing.gpu_memory_mb,
        "joules": timing.joules,
        "detail": timing.detail,
    }


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
    sys.stdout.write("\n")
