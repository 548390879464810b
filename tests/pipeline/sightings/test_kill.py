"""Runs that are killed, disks that are full, folders that are read-only: what was stored stays."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.sightings import Sightings, writer
from facestream.pipeline.sightings.maintenance import check_database
from facestream.pipeline.sightings.writer import SightingWriter

from benchmarks.kill_runs import kill_runs
from tests.disks import disk_or_skip, fill
from tests.pipeline.sightings.stored import left
from tests.servers.postgresql import require_postgresql


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_acknowledged_is_lost_when_a_run_is_killed(kind: str) -> None:
    """Two hundred of each: ``python -m benchmarks kill-runs``."""
    if kind == "postgresql":
        require_postgresql()
    found = kill_runs(kind, 3, seed=1)
    assert found.passed, found
    assert found.kills == 3


class FailingWriter(SightingWriter):
    """Knows that a transaction failed."""

    failed = False

    def _take_back(self, batch: Any) -> None:
        self.failed = True
        super()._take_back(batch)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera's rows wait until there is room; what was stored before is there all the time."""
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.01, 0.01))
    with (
        disk_or_skip(tmp_path / "small", kilobytes=1024) as disk,
        Sightings(disk / "x.db", create="if_missing") as store,
    ):
        with SightingWriter(store) as out:
            out.event(left(), pace="drops")
        filler = fill(disk)
        count = 1
        with FailingWriter(store) as out:
            while not out.failed:  # pages of the file are free at first
                out.event(left(), pace="drops")
                count += 1
                assert count < writer.MAX_ROWS
                time.sleep(0.001)
            assert 1 <= store.count() < count
            filler.unlink()
        assert store.count() == count
        assert check_database(store) == []


def test_a_read_only_folder(tmp_path: Path) -> None:
    """It is read; writing says what to do."""
    with disk_or_skip(tmp_path / "disk", kilobytes=1024) as disk:
        path = disk / "x.db"
        with Sightings(path, create="if_missing") as store, SightingWriter(store) as out:
            out.event(left(), pace="waits")
        assert subprocess.run(["mount", "-o", "remount,ro", disk], check=False).returncode == 0
        with Sightings(path) as store:
            assert store.count() == 1
            with pytest.raises(GalleryError, match="read-only"):
                SightingWriter(store)
