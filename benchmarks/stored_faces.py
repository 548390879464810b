"""Databases of sightings with given embeddings, for benchmarks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.core.types import Floats
from facestream.pipeline.sightings import Sightings

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
# Rows of one transaction.
CHUNK = 5000


def store_faces(
    path: Path,
    mu: Floats,
    logvar: Floats,
    sigma: Floats,
    *,
    model_id: str,
    seconds: float = 60.0,
    first: int = 0,
) -> list[str]:
    """Store a sighting for each face N×D, one after another at one camera; returns their ids."""
    uids = [uuid.uuid4().hex for _ in range(len(mu))]
    run = uuid.uuid4().hex
    with Sightings(path, create="if_missing") as sightings:
        sightings.begin_run(run)
        for start in range(0, len(mu), CHUNK):
            chosen = range(start, min(start + CHUNK, len(mu)))
            rows = [_row(uids[n], (first + n) * seconds, float(sigma[n]), model_id) for n in chosen]
            templates = {
                uids[n]: {
                    "model_id": model_id,
                    "mu": np.asarray(mu[n], "<f2").tobytes(),
                    "logvar": np.asarray(logvar[n], "<f2").tobytes(),
                }
                for n in chosen
            }
            sightings.write(run, rows, templates, {})
        sightings.end_run(run)
    return uids


def _row(uid: str, at: float, sigma: float, model_id: str) -> dict[str, Any]:
    start = BEGAN + timedelta(seconds=at)
    return {
        "uid": uid,
        "source": "door",
        "track_id": 1,
        "state": "closed",
        "seen_at": start,
        "start_utc": start,
        "end_utc": start + timedelta(seconds=5),
        "start_pts": at,
        "end_pts": at + 5,
        "box": np.array([0, 0, 80, 100], np.float32),
        "faces": 5,
        "looks": 2,
        "verdict": "unsure",
        "similarity": 0.0,
        "probability": 0.0,
        "uncertainty": sigma,
        "clearest": sigma,
        "reason": "no_gallery",
        "model_id": model_id,
    }


def cluster_of(path: Path, uids: Sequence[str]) -> list[int]:
    """The cluster of each sighting, −1 without one."""
    from facestream.pipeline.storage.schema import ClusterMemberRow, SightingRow
    from sqlalchemy import select

    query = select(SightingRow.uid, ClusterMemberRow.cluster_id).join(
        ClusterMemberRow, ClusterMemberRow.sighting_id == SightingRow.id
    )
    with Sightings(path) as sightings, sightings.reading() as connection:
        found = {row.uid: row.cluster_id for row in connection.execute(query)}
    return [found.get(uid, -1) for uid in uids]
