"""The search over stored sightings finds what is stored now, and reads each row once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from facestream.pipeline.core.events import FusedTemplate, Left
from facestream.pipeline.core.types import Floats
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import GroupingRule
from facestream.pipeline.sightings import Sightings, vectors
from facestream.pipeline.sightings.search import SightingIndex
from facestream.pipeline.sightings.writer import SightingWriter
from facestream.pipeline.storage.schema import SightingRow

from tests.pipeline.sightings.stored import EPOCH, left

DIM = 16
RULE = GroupingRule(Thresholds(0.9, max_sigma=0.5))


def face(person: int) -> Floats:
    return np.random.default_rng(person).normal(size=DIM).astype(np.float32)


def seen(person: int, *, sigma: float = 0.3, **more: object) -> Left:
    event = left(**more)  # type: ignore[arg-type]
    return event.with_template(FusedTemplate(face(person), np.zeros(DIM, np.float32), sigma))


def write(store: Sightings, *events: Left) -> None:
    with SightingWriter(store) as writer:
        for event in events:
            writer.event(event, pace="waits")


def test_what_is_stored_now_is_found(database: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 3)
    with Sightings(database, create="if_missing") as store:
        index = SightingIndex(store, "m", RULE)

        def found(person: int, **wanted: object) -> list[float]:
            hits = index.search(face(person), sigma=0.3, **wanted).hits  # type: ignore[arg-type]
            return sorted(hit.sighting.start_pts for hit in hits)

        assert index.search(face(1), sigma=0.3).searched == 0
        write(store, *(seen(n % 4, start=float(n), source=f"c{n % 2}") for n in range(8)))
        assert found(1) == [1, 5]
        write(store, seen(1, start=20.0), seen(1, start=30.0, sigma=0.9))
        assert found(1) == [1, 5, 20]
        assert index.search(face(1), sigma=0.3).searched == 9  # one shows too little
        at = datetime.fromtimestamp(EPOCH + 5, UTC)
        assert found(1, since=at) == [5, 20]
        assert found(1, until=at) == [1]
        assert found(1, sources=("c1", "nowhere")) == [1, 5]
        assert found(2, sources=("c1",)) == []
        assert found(1, limit=1) == [1]
        with store.writing() as connection:
            connection.execute(sa.delete(SightingRow).where(SightingRow.start_pts == 5.0))
        assert found(1) == [1, 20]


def test_a_refresh_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Sightings(tmp_path / "x.db", create="if_missing") as store:
        index = SightingIndex(store, "m", RULE)
        appended: list[int] = []
        real = vectors.VectorBlocks.append

        def append(blocks: vectors.VectorBlocks, some: Floats) -> None:
            appended.append(len(some))
            real(blocks, some)

        monkeypatch.setattr(vectors.VectorBlocks, "append", append)
        write(store, *(seen(n) for n in range(5)))
        index.refresh()
        write(store, seen(9))
        index.refresh()
        index.refresh()
        assert appended == [5, 1]


def test_a_sighting_whose_embedding_was_replaced_is_found_once(tmp_path: Path) -> None:
    event = seen(1)
    with Sightings(tmp_path / "x.db", create="if_missing") as store:
        index = SightingIndex(store, "m", RULE)
        for _ in range(2):
            write(store, event)
            (hit,) = index.search(face(1), sigma=0.3).hits
            assert hit.sighting.id == event.sighting


def test_blocks_are_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 4)
    blocks = vectors.VectorBlocks()
    chance = np.random.default_rng(0)
    parts = [chance.normal(size=(n, 3)).astype(np.float32) for n in (1, 3, 9, 2)]
    for part in parts:
        blocks.append(part)
    whole = np.concatenate(parts)
    rows = np.array([14, 0, 5, 5], np.int64)
    np.testing.assert_array_equal(blocks.take(rows), whole[rows])
    np.testing.assert_allclose(blocks.dot(whole[2]), whole @ whole[2], rtol=1e-5)
    assert len(blocks) == 15
