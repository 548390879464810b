"""Two processes store sightings in one database, while others read it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.maintenance import check_database

STORING = """
import runpy, sys
from pathlib import Path
root, database, source = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
sys.path.insert(0, root)
from facestream.pipeline.sightings import Sightings, writer
from facestream.pipeline.sightings.writer import SightingWriter
from tests.pipeline.sightings.stored import appeared, left
writer.FLUSH_SECONDS = 0.002
with Sightings(database, create="if_missing") as store, SightingWriter(store) as out:
    for number in range(25):
        event = appeared(at=float(number), source=source)
        out.event(event, pace="waits")
        if number % 10 == 0:
            store.count()
        out.event(left(event, shade=number), pace="waits")
"""


def test_two_runs_and_a_reader(database: Path | str) -> None:
    root = Path(__file__).parents[3]
    with Sightings(database, create="if_missing") as store:
        running = [
            subprocess.Popen([sys.executable, "-c", STORING, root, database, source])
            for source in ("door", "yard")
        ]
        seen = 0
        while any(process.poll() is None for process in running):
            # What was there once stays, and a page is one state.
            page = store.page(limit=500).sightings
            assert len(page) >= seen
            assert len({one.id for one in page}) == len(page)
            assert all(len(one.pictures) == 2 for one in page if one.state == "closed")
            seen = len(page)
            time.sleep(0.05)
        assert [process.wait() for process in running] == [0, 0]
        assert store.count() == 50
        assert {one.state for one in store.page(limit=500).sightings} == {"closed"}
        assert check_database(store) == []
