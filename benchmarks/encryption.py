"""What encryption at rest costs: loading, searching, encrypting, rotating, forgetting.

    python -m benchmarks encryption --json benchmarks/results/encryption.json

A database of random embeddings (float16, 128), without pictures.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.core.user_key import ENVIRONMENT, KEY_BYTES
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import GroupingRule
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.encryption import Encryption
from facestream.pipeline.sightings.forget import ForgetRequest, Forgetting
from facestream.pipeline.sightings.search import SightingIndex

DIM = 128
_WRITTEN = 1000
_SEARCHES = 20
_RULE = GroupingRule(Thresholds(similarity=0.9))
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser("python -m benchmarks encryption")
    parser.add_argument("--sightings", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    os.environ[ENVIRONMENT] = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "house.db", options.sightings)
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if options.json is not None:
        options.json.write_text(text)
    return 0


def measure(path: Path, count: int) -> dict[str, Any]:
    """Processor seconds of each step, of so many sightings: other programs do not count."""
    found: dict[str, Any] = {"sightings": count, "cpu_seconds": {}}
    seconds = found["cpu_seconds"]
    with Sightings(path, create="if_missing") as sightings:
        encryption = Encryption(sightings)
        seconds["insert, plain"] = timed(lambda: insert(sightings, count))
        seconds |= {f"{name}, plain": value for name, value in searches(sightings).items()}
        seconds["enable"] = timed(encryption.enable)
        seconds |= {f"{name}, encrypted": value for name, value in searches(sightings).items()}
        seconds["rotate --full"] = timed(encryption.rotate)
        forgetting = Forgetting(sightings, "m", _RULE)
        before = _EPOCH + timedelta(seconds=1000)
        plan = forgetting.plan(ForgetRequest(before=before))
        seconds["forget 1,000, encrypted"] = timed(lambda: forgetting.carry_out(plan))
    return found


def searches(sightings: Sightings) -> dict[str, float]:
    """Loading all embeddings, and a search among them."""
    index = SightingIndex(sightings, "m", _RULE)
    load = timed(index.refresh)
    draw = np.random.default_rng(1)
    faces = draw.normal(size=(_SEARCHES, DIM)).astype(np.float32)
    took = timed(lambda: [index.search(face, sigma=0.5) for face in faces])
    return {"load": load, "search": round(took / _SEARCHES, 4)}


def insert(sightings: Sightings, count: int) -> None:
    """Store sightings with random embeddings, one a second."""
    sightings.begin_run("bench")
    draw = np.random.default_rng(0)
    for start in range(0, count, _WRITTEN):
        uids = [uuid.uuid4().hex for _ in range(min(_WRITTEN, count - start))]
        vectors = draw.normal(size=(len(uids), 2, DIM)).astype("<f2")
        rows = [_row(uid, start + number) for number, uid in enumerate(uids)]
        templates = {
            uid: {"model_id": "m", "mu": mu.tobytes(), "logvar": logvar.tobytes()}
            for uid, (mu, logvar) in zip(uids, vectors, strict=True)
        }
        sightings.write("bench", rows, templates, {})


def timed(work: Callable[[], object]) -> float:
    """Processor seconds that something takes."""
    begun = time.process_time()
    work()
    return round(time.process_time() - begun, 4)


def _row(uid: str, number: int) -> dict[str, Any]:
    at = _EPOCH + timedelta(seconds=number)
    return {
        "uid": uid, "source": "door", "track_id": number, "state": "closed", "seen_at": at,
        "start_utc": at, "end_utc": at, "start_pts": 0.0, "end_pts": 1.0,
        "box": np.zeros(4, np.float32), "faces": 5, "looks": 2, "verdict": "unsure",
        "similarity": 0.1, "probability": 0.0, "clearest": 0.5, "model_id": "m",
    }  # fmt: skip
