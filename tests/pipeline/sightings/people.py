"""A database with people, and with sightings that resemble them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from facestream.pipeline.core.events import FusedTemplate, Left
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery import Gallery
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import GroupingRule
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import EPOCH, left
from tests.pixels import PixelReader, paint

ROOT = Path(__file__).parents[3]
MODEL = "pixels-1"
RULE = GroupingRule(Thresholds(similarity=0.6))


def noise(seed: int, *shape: int) -> Any:
    """A picture without a pattern."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def face(person: int, *, seed: int) -> Floats:
    """An embedding of a person as `PixelReader` makes them."""
    mu = np.random.default_rng(person).normal(size=16)
    mu += 0.05 * np.random.default_rng(1000 + seed).normal(size=16)
    return mu.astype(np.float32)


def seen(person: int, *, seed: int, days: float = 0, **more: Any) -> Left:
    """A sighting of a face, with pictures, so many days ago."""
    start = (datetime.now(UTC) - timedelta(days=days)).timestamp() - EPOCH
    made = left(start=start, **more).model_copy(update={"model": MODEL})
    made = made.with_image(noise(seed, 40, 40), noise(seed + 500, 112, 112))
    logvar = np.linspace(-2, -1, 16, dtype=np.float32) + np.float32(seed) / 100
    return made.with_template(FusedTemplate(face(person, seed=seed), logvar, 0.3))


def enrol(path: Path | str, name: str, person: int, *, pictures: Path) -> int:
    """Enrol a person by a photo in that folder; returns the id."""
    with Gallery(path, reader=PixelReader(MODEL)) as gallery:
        photo = paint(pictures / f"{name}.png", person=person)
        assert gallery.add(name, photo)[0].accepted
        return gallery.person(name).id


def store(path: Path | str, *events: Left) -> None:
    """Store sightings."""
    with Sightings(path, create="if_missing") as sightings, SightingWriter(sightings) as writer:
        for event in events:
            writer.event(event, pace="waits")


def house(folder: Path) -> Path:
    """A file of `furnish`."""
    path = folder / "here" / "house.db"
    path.parent.mkdir()
    furnish(path, folder)
    return path


def furnish(path: Path | str, pictures: Path) -> None:
    """Ada and Bob: two sightings with her name, one of her without, one of his with hers as a
    candidate, and one of a stranger."""
    ada, bob = (enrol(path, *who, pictures=pictures) for who in (("Ada", 1), ("Bob", 2)))
    candidates = [
        {"person_id": ada, "name": "Ada", "similarity": 0.5},
        {"person_id": bob, "name": "Bob", "similarity": 0.4},
    ]
    store(
        path,
        seen(1, seed=1, name="Ada", person_id=ada, verdict="known"),
        seen(1, seed=2, days=10, name="Ada", person_id=ada, verdict="known"),
        seen(1, seed=3, days=40),
        seen(2, seed=4, name="Bob", person_id=bob, verdict="known", candidates=candidates),
        seen(3, seed=5, days=20, verdict="stranger"),
    )


DYING = """
import conftest, os, signal, sys
from facestream.pipeline.sightings import Sightings
from tests.pipeline.sightings import people

def die_at(moment, names):
    left = moment
    def count(frame, event, arg):
        nonlocal left
        if event in ("call", "return") and frame.f_code.co_name in names:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)

for given in sys.argv[1:]:
    moment, _, path = given.partition(":")
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        continue
    with Sightings(path) as sightings:
        work(sightings, int(moment))
    os._exit(0)
"""


def killed_at(work: str, path: Path, moments: Sequence[int]) -> Iterator[tuple[int, Path]]:
    """Do something with copies of a database, and kill it at these moments: calls and ends of
    functions. ``work`` defines ``work(sightings, moment)``, which calls ``die_at``.

    Yields how it ended (0 when it came to its end before) and the copy.
    """
    copies = {}
    for moment in moments:
        copies[moment] = path.parent.with_name(f"killed-{moment}") / path.name
        shutil.copytree(path.parent, copies[moment].parent)
    head, _, loop = DYING.partition("for given in")
    ran = subprocess.run(
        [sys.executable, "-c", f"{head}{work}\nfor given in{loop}",
         *(f"{moment}:{copy}" for moment, copy in copies.items())],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ended = [int(line) for line in ran.stdout.split()]
    assert len(ended) == len(copies), ran.stderr
    yield from zip(ended, copies.values(), strict=True)
