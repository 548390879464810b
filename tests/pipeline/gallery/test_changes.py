"""What others change is seen quickly, and nothing is left of who was removed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.errors import InferenceError
from facestream.engines.index import IndexOptions, choice
from facestream.pipeline.core.location import Location
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery import Gallery, changes
from facestream.pipeline.gallery.changes import Snapshot
from facestream.pipeline.gallery.index import TemplateIndex
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.gallery.templates import BLOCK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pixels import PixelReader, paint

from .conftest import stored

Photos = Callable[..., list[Path]]


def three_people(gallery: Gallery, photos: Photos) -> None:
    """Two photos each."""
    for number, name in enumerate(("Ann", "Bob", "Cem"), 1):
        gallery.add(name, *photos(number))


@pytest.fixture
def path(gallery: Gallery, photos: Photos) -> Path:
    """A gallery of three people in a file."""
    three_people(gallery, photos)
    return gallery.path


@pytest.fixture
def place(any_gallery: Gallery, photos: Photos) -> Location:
    """The same in a file, and on a server."""
    three_people(any_gallery, photos)
    return any_gallery.location


@pytest.fixture
def snapshots(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Gets an entry each time all templates are read from a gallery."""
    done: list[Store] = []
    real = Store.snapshot

    def counted(store: Store) -> Snapshot:
        done.append(store)
        return real(store)

    monkeypatch.setattr(Store, "snapshot", counted)
    return done


def mu_of(gallery: Gallery, name: str) -> Floats:
    mu, _ = PixelReader().embed(np.stack([gallery.crop(p) for p in gallery.photos(name)[:1]]))
    return mu


def probes() -> Floats:
    return np.random.default_rng(5).normal(size=(20, 16)).astype(np.float32)


def plain(path: Location) -> TemplateIndex:
    """An index of what is in the file."""
    store = Store(path, create="never")
    try:
        return TemplateIndex(store.snapshot())
    finally:
        store.close()


def agrees(gallery: Gallery) -> None:
    """An open gallery finds what a newly opened one finds."""
    found, expected = gallery.search(probes(), 4), plain(gallery.location).search(probes(), 4)
    assert found.names == expected.names
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-5)
    assert gallery.templates() == len(plain(gallery.location))


def test_changes_of_others_cost_no_reading_of_everything(
    place: Location, reader: PixelReader, photos: Photos, snapshots: list[Store]
) -> None:
    with Gallery(place, reader=reader) as gallery, Gallery(place, reader=reader) as other:
        gallery.refresh()
        assert len(snapshots) == 1
        gallery.add("Dee", *photos(4))
        other.add("Eva", *photos(5))
        other.rename("Ann", "Anna")
        other.remove("Cem")
        assert gallery.refresh()
        assert not gallery.refresh()
        assert len(snapshots) == 1
        assert gallery.templates() == 8
        assert gallery.search(mu_of(gallery, "Eva"), 1).names == (("Eva",),)
        assert gallery.search(mu_of(gallery, "Anna"), 1).names == (("Anna",),)
        assert gallery.search(probes(), 9).person_ids[0].tolist().count(-1) == 5
        agrees(gallery)


def test_further_behind_than_the_log(
    place: Location,
    reader: PixelReader,
    photos: Photos,
    snapshots: list[Store],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changes, "LOG_LENGTH", 2)
    with Gallery(place, reader=reader) as gallery:
        gallery.refresh()
        with Gallery(place, reader=reader) as other:
            other.add("Dee", *photos(4, 4))
        assert gallery.refresh()
        assert len(snapshots) == 2
        assert gallery.templates() == 10


def test_a_full_gpu_is_no_end(path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that can take no more is built anew."""
    with Gallery(path, reader=PixelReader()) as gallery:
        gallery.refresh()

        def full(*args: object) -> bool:
            raise InferenceError("out of memory")

        monkeypatch.setattr(TemplateIndex, "update", full)
        gallery.add("Dee", *photos(4))
        assert gallery.templates() == 8


def test_a_gallery_that_is_replaced_while_it_is_open(
    path: Path, tmp_path: Path, reader: PixelReader, photos: Photos
) -> None:
    """Two copies that were changed separately, with the same ids."""
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Eva", *photos(5))
        gallery.refresh()
        with Gallery(other, reader=reader) as copied:
            copied.add("Dee", *photos(4, 3))
        path.write_bytes(other.read_bytes())
        assert gallery.refresh()
        found = {name for row in gallery.search(probes(), 4).names for name in row}
        assert found == {"Ann", "Bob", "Cem", "Dee"}


def test_a_state_without_a_stamp_is_read_anew(path: Path, snapshots: list[Store]) -> None:
    """A facestream without the log wrote the gallery."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'change/%'")
    connection.close()
    with Gallery(path) as gallery, Gallery(path) as other:
        gallery.refresh()
        other.remove("Bob")
        assert gallery.refresh()
        assert len(snapshots) == 2
        agrees(gallery)


def test_nothing_is_left_of_a_removed_person(path: Path) -> None:
    with Gallery(path, create="never") as gallery:
        kept = stored(gallery).templates
        bob = [*kept.mu[2:4], *kept.logvar[2:4]]
        assert all(row.tobytes() in path.read_bytes() for row in bob[:2])
        gallery.remove("Bob")
        assert not any(row.tobytes() in path.read_bytes() for row in bob[:2])
        assert stored(gallery).templates.person_ids.tolist() == [1, 1, 3, 3]
        assert kept.mu[0].tobytes() in path.read_bytes()
        gallery.remove("Ann")
        gallery.remove("Cem")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM templates").fetchone() == (0,)
    connection.close()


def test_another_model_leaves_nothing_of_the_first(place: Location) -> None:
    with Gallery(place, reader=PixelReader("pixels-2", dim=8)) as gallery:
        kept = stored(gallery).templates
        gallery.refresh()
        gallery.re_embed()
        assert gallery.search(np.ones((1, 8), np.float32), 3).names[0]
        if isinstance(place, Path):
            assert not any(row.tobytes() in place.read_bytes() for row in kept.mu)


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_approximate_kinds(
    kind: choice.IndexKind,
    tmp_path: Path,
    reader: PixelReader,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Built when the gallery is opened; later changes are taken in."""
    for minimum in ("MIN_HNSW", "MIN_IVFPQ"):
        monkeypatch.setattr(choice, minimum, 280)
    chance = np.random.default_rng(0)
    path = tmp_path / "people.db"
    mu = chance.normal(size=(300, 16)).astype(np.float32)
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Ann", *photos(1, 1))
    fill(path, mu)
    with Gallery(path, reader=reader, searching=IndexOptions(kind)) as gallery:
        found = gallery.search(mu, 1)
        assert gallery.index_info().kind == kind
        assert [row[0] for row in found.names] == [f"P{number}" for number in range(300)]
        np.testing.assert_allclose(found.similarities[:, 0], 1, atol=1e-5)
        gallery.remove("P7")
        gallery.add("Bob", *photos(2, 1))
        assert gallery.search(mu_of(gallery, "Bob"), 1).names == (("Bob",),)
        assert gallery.search(mu[7:8], 1).similarities[0, 0] < 0.99


def fill(path: Path, mu: Floats) -> None:
    """A photo of each of N more people, with SQL: a transaction each would take seconds."""
    with sqlite3.connect(path) as connection:
        (model_id,) = connection.execute("SELECT model_id FROM templates").fetchone()
        (first,) = connection.execute("SELECT 1 + max(id) FROM photos").fetchone()
        photos = np.arange(first, first + len(mu))
        for number, photo in enumerate(photos.tolist()):
            connection.execute(
                "INSERT INTO people VALUES (?, ?, ?, '2026-01-01T00:00:00+00:00')",
                (photo, f"P{number}", f"p{number}"),
            )
            connection.execute(
                "INSERT INTO photos SELECT ?, ?, path, ?, width, height, box, landmarks, score, "
                "crop, created_at FROM photos WHERE id = 1",
                (photo, photo, f"{photo}"),
            )
        for block in np.unique(photos // BLOCK).tolist():
            people = np.zeros(BLOCK, np.int64)
            rows = np.zeros((BLOCK, mu.shape[1]), np.float32)
            old = connection.execute(
                "SELECT person_ids, mu FROM templates WHERE block = ?", (block,)
            ).fetchone()
            if old is not None:
                people[:] = np.frombuffer(old[0], np.int64)
                rows[:] = np.frombuffer(old[1], np.float32).reshape(rows.shape)
            here = photos // BLOCK == block
            people[photos[here] % BLOCK] = photos[here]
            rows[photos[here] % BLOCK] = mu[here]
            connection.execute(
                "REPLACE INTO templates VALUES (?, ?, ?, ?, ?)",
                (model_id, block, people.tobytes(), rows.tobytes(), rows.tobytes()),
            )
    connection.close()


@settings(
    max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "rename", "refresh", "re-embed"]), st.integers(1, 6)
        ),
        max_size=8,
    )
)
def test_any_order_of_changes(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    """One gallery stays open, others come and go; it finds what is in the file."""
    folder = tmp_path / os.urandom(6).hex()
    folder.mkdir()
    path = folder / "people.db"
    models = 1
    with Gallery(path, reader=PixelReader()) as stays:
        for number, (action, person) in enumerate(steps):
            name = f"P{person}"
            models += action == "re-embed"
            with Gallery(path, reader=PixelReader(f"pixels-{models}")) as visitor:
                names = {one.name for one in visitor.people()}
                if action == "add":
                    visitor.add(name, paint(folder / f"{number}.png", person=person, shade=number))
                elif action == "remove" and name in names:
                    visitor.remove(name)
                elif action == "rename" and name in names:
                    visitor.rename(name, f"{name}-{number}")
                elif action == "refresh":
                    stays.refresh()
                elif action == "re-embed":
                    visitor.re_embed()
        stays.refresh()
        agrees(stays)


SCRIPT = """
import runpy, sys
from pathlib import Path
root, place, folder, first = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
sys.path.insert(0, root)
from facestream.pipeline.gallery import Gallery
from tests.pixels import PixelReader, paint
folder = Path(folder)
for number in range(int(first), int(first) + 4):
    with Gallery(place, reader=PixelReader()) as gallery:
        photo = paint(folder / f"{number}.png", person=number, shade=number)
        gallery.add(f"Q{number}", photo)
        gallery.refresh()
        if number % 2:
            gallery.remove(f"Q{number}")
"""


def test_several_processes_at_once(place: Location, tmp_path: Path) -> None:
    """Each adds, loads and removes; a reader finds the right people at all times."""
    root = Path(__file__).parents[3]
    where = place if isinstance(place, Path) else place.text
    running = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, root, where, tmp_path, str(first)])
        for first in (20, 40)
    ]
    with Gallery(place, create="never") as gallery:
        wrong: list[object] = []
        done = threading.Event()

        def search() -> None:
            while not done.is_set():
                found = gallery.search(mu, 1)
                if found.names != (("Ann",),):
                    wrong.append(found)
                time.sleep(0.002)  # the others need the processor, too

        mu = mu_of(gallery, "Ann")
        searching = threading.Thread(target=search)
        searching.start()
        try:
            while any(process.poll() is None for process in running):
                gallery.refresh()
                time.sleep(0.002)
        finally:
            done.set()
            searching.join()
            assert [process.wait() for process in running] == [0, 0]
        assert wrong == []
        gallery.refresh()
        assert gallery.templates() == 10
        agrees(gallery)
        assert set(stored(gallery).templates.person_ids.tolist()) == {
            person.id for person in gallery.people()
        }
