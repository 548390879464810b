"""The file a large gallery is searched from: as the gallery, whatever happens to either."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.errors import InferenceError
from facestream.engines.index.rowfile import read_rows
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery import Gallery, cache, changes
from facestream.pipeline.gallery.index import TemplateIndex, normalised
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.gallery.templates import Templates
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.pixels import PixelReader, paint

Photos = Callable[..., list[Path]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries of four photos are large."""
    monkeypatch.setattr(cache, "CACHED", 4)


@pytest.fixture
def path(tmp_path: Path, reader: PixelReader, photos: Photos) -> Path:
    """A gallery of three people with its file."""
    with Gallery(tmp_path / "people.db", reader=reader) as gallery:
        for number, name in enumerate(("Ann", "Bob", "Cem"), 1):
            gallery.add(name, *photos(number))
        gallery.refresh()
    return tmp_path / "people.db"


def copy_of(path: Path) -> Path:
    return path.with_name("people.db.templates")


def mu_of(gallery: Gallery, name: str) -> Floats:
    mu, _ = PixelReader().embed(np.stack([gallery.crop(p) for p in gallery.photos(name)[:1]]))
    return mu


def agrees(path: Path) -> None:
    """What is found with the file is what is found without."""
    with Gallery(path, create="never") as gallery:
        found = gallery.search(probes(), 4)
        assert found.names == plain(path).search(probes(), 4).names
        np.testing.assert_allclose(
            found.similarities, plain(path).search(probes(), 4).similarities, atol=1e-5
        )
        assert len(plain(path)) == gallery.templates()


def probes() -> Floats:
    return np.random.default_rng(5).normal(size=(20, 16)).astype(np.float32)


def plain(path: Path) -> TemplateIndex:
    with Gallery(path, create="never") as gallery:
        return TemplateIndex(gallery._store.templates())


def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Gets an entry each time all embeddings are read from a gallery."""
    done: list[object] = []
    real = Store.templates

    def counted(store: Store) -> Templates:
        done.append(store)
        return real(store)

    monkeypatch.setattr(Store, "templates", counted)
    return done


def test_the_second_start_reads_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read_rows(copy_of(path))) == 6
    whole = reads(monkeypatch)
    with Gallery(path, create="never") as gallery:
        assert gallery.search(mu_of(gallery, "Bob"), 1).names == (("Bob",),)
        index = gallery._index
        assert index is not None
        assert gallery.index_info().kind in ("flat", "gpu")
    assert whole == []
    agrees(path)


def test_only_the_owner_may_read_it(path: Path) -> None:
    assert stat.S_IMODE(copy_of(path).stat().st_mode) == 0o600


def test_it_is_shared_as_the_gallery_is(path: Path) -> None:
    copy_of(path).unlink()
    path.chmod(0o640)
    with Gallery(path, create="never") as gallery:
        gallery.refresh()
    assert stat.S_IMODE(copy_of(path).stat().st_mode) == 0o640


def test_a_full_gpu_is_no_end(path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that can take no more is made anew."""
    with Gallery(path, reader=PixelReader()) as gallery:
        gallery.refresh()
        before = gallery._index

        def full(*args: object) -> bool:
            raise InferenceError("out of memory")

        monkeypatch.setattr(TemplateIndex, "update", full)
        gallery.add("Dee", *photos(4))
        monkeypatch.setattr("facestream.pipeline.gallery.loading._from_cache", lambda *a: None)
        assert gallery.templates() == 8
        assert gallery._index is not before


def test_small_galleries_have_none(
    tmp_path: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setattr(cache, "CACHED", 100)
    copy_of(path).write_bytes(b"damaged")  # else it is used as long as it is there
    with Gallery(path, create="never") as gallery:
        assert gallery.templates() == 6
    assert not copy_of(path).exists()


def test_a_removed_person_is_not_in_the_file_any_more(path: Path) -> None:
    with Gallery(path, create="never") as gallery:
        unit, _ = normalised(mu_of(gallery, "Bob"))
        assert unit[0].tobytes() in copy_of(path).read_bytes()
        gallery.remove("Bob")  # before anything was searched
        assert unit[0].tobytes() not in copy_of(path).read_bytes()
        assert unit[0].tobytes() not in path.read_bytes()
    rows = read_rows(copy_of(path))
    assert rows.labels.tolist() == [1, 1, 0, 0, 3, 3]
    agrees(path)


def test_who_has_the_file_mapped_stops_finding_who_was_removed(path: Path) -> None:
    with Gallery(path, create="never") as mine, Gallery(path, create="never") as theirs:
        mu = mu_of(mine, "Bob")
        assert theirs.search(mu, 1).names == (("Bob",),)
        mine.remove("Bob")
        assert (theirs.search(mu, 3).similarities < 0.9).all()
        assert theirs.refresh()
        assert "Bob" not in theirs.search(mu, 3).names[0]
        assert theirs.templates() == 4


@pytest.mark.parametrize("place", [10, 4096 + 5, -30])
def test_a_damaged_file_is_made_anew(path: Path, place: int) -> None:
    content = bytearray(copy_of(path).read_bytes())
    content[4096 * 8 if place == -30 else place] ^= 255
    copy_of(path).write_bytes(content)
    agrees(path)
    assert len(read_rows(copy_of(path))) == 6


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100_000])
def test_a_file_of_something_else_is_made_anew(path: Path, content: bytes) -> None:
    copy_of(path).write_bytes(content)
    agrees(path)
    assert len(read_rows(copy_of(path))) == 6


def test_a_gallery_of_that_name_is_left_alone(
    tmp_path: Path, path: Path, reader: PixelReader
) -> None:
    copy_of(path).unlink()
    with Gallery(copy_of(path), reader=reader) as other:
        other.add("Zoë", paint(tmp_path / "zoe.png", person=9))
    before = copy_of(path).read_bytes()
    with Gallery(path, create="never") as gallery:
        gallery.refresh()
        gallery.remove("Bob")
        assert gallery.templates() == 4
    assert copy_of(path).read_bytes() == before


def test_a_file_that_is_behind_is_caught_up(
    path: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Dee", *photos(4))
        gallery.rename("Ann", "Anna")
        gallery.remove("Cem")
        gallery.add("Eva", *photos(5, 1))
        gallery.remove("Eva")
    uid = read_rows(copy_of(path)).uid
    whole = reads(monkeypatch)
    with Gallery(path, create="never") as gallery:
        assert gallery.templates() == 6
        assert gallery.search(mu_of(gallery, "Dee"), 1).names == (("Dee",),)
        assert gallery.search(mu_of(gallery, "Anna"), 1).names == (("Anna",),)
        head = gallery._store.head()
    assert whole == []
    rows = read_rows(copy_of(path))
    assert rows.uid == uid  # in place
    assert cache.Tag.unpacked(rows.tag) == cache.Tag(head, "pixels-1")
    agrees(path)


def test_a_file_without_room_is_made_anew(
    path: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = read_rows(copy_of(path)).uid
    monkeypatch.setattr("facestream.engines.index.rowfile.RowFile.append", lambda *a, **k: False)
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Dee", *photos(4))
        gallery.remove("Bob")
    agrees(path)
    rows = read_rows(copy_of(path))
    assert rows.uid != uid
    assert rows.labels.tolist() == [1, 1, 3, 3, 4, 4]


def test_too_far_behind(
    path: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KEPT", 2)
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Dee", *photos(4, 4))
    whole = reads(monkeypatch)
    with Gallery(path, create="never") as gallery:
        assert gallery.templates() == 10
    assert len(whole) == 1
    assert len(read_rows(copy_of(path))) == 10


def test_another_gallery_in_the_same_place(
    path: Path, tmp_path: Path, reader: PixelReader, photos: Photos
) -> None:
    """Two copies of one gallery that went on separately, with as many changes, the same ids."""
    other = tmp_path / "other.db"
    shutil.copy(path, other)
    with Gallery(other, reader=reader) as gallery:
        gallery.add("Dee", *photos(4))
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Eva", *photos(5))
        gallery.refresh()
    agrees(path)
    shutil.copy(other, path)
    agrees(path)
    with Gallery(path, create="never") as gallery:
        assert gallery.search(mu_of(gallery, "Dee"), 1).names == (("Dee",),)


def test_a_gallery_that_is_replaced_while_it_is_open(
    path: Path, tmp_path: Path, reader: PixelReader, photos: Photos
) -> None:
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


def test_a_gallery_written_without_a_log(path: Path) -> None:
    """By an older facestream: its changes have no stamps."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM meta WHERE key LIKE 'change/%'")
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
        connection.execute("DELETE FROM people WHERE name = 'Bob'")
        connection.execute("DELETE FROM photos WHERE person_id = 2")
        connection.execute("DELETE FROM embeddings WHERE photo_id IN (3, 4)")
    connection.close()
    agrees(path)
    assert read_rows(copy_of(path)).labels.tolist() == [1, 1, 3, 3]


def test_another_model(path: Path, photos: Photos) -> None:
    with Gallery(path, reader=PixelReader("pixels-2", dim=8)) as gallery:
        unit, _ = normalised(mu_of(gallery, "Ann"))
        gallery.re_embed()
        assert not copy_of(path).exists()
        assert gallery.search(np.ones((1, 8), np.float32), 3).names[0]
    rows = read_rows(copy_of(path))
    assert rows.dim == 8
    assert unit[0].tobytes() not in copy_of(path).read_bytes()


def test_a_removal_that_is_not_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are gone from the file and not from the gallery: the file is known to be wrong."""
    monkeypatch.setattr("facestream.pipeline.gallery.store.Store.locked", None)
    with Gallery(path, create="never") as gallery:
        erase = gallery._store.cache.erase

        def fails(*args: object, **options: object) -> None:
            erase(*args, **options)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        monkeypatch.setattr(gallery._store.cache, "erase", fails)
        with pytest.raises(KeyboardInterrupt):
            gallery.remove("Bob")
    monkeypatch.undo()
    monkeypatch.setattr(cache, "CACHED", 4)
    assert 0 in read_rows(copy_of(path)).labels
    agrees(path)
    with Gallery(path, create="never") as gallery:
        assert gallery.search(mu_of(gallery, "Bob"), 1).names == (("Bob",),)
    assert read_rows(copy_of(path)).labels.tolist() == [1, 1, 2, 2, 3, 3]


def test_a_removal_that_cannot_be_carried_out_on_the_file_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("facestream.engines.index.rowfile.RowFile.erase", refuse)
    monkeypatch.setattr(cache, "shred", refuse)
    with Gallery(path, create="never") as gallery:
        with pytest.raises(GalleryError, match=r"people\.db\.templates.*cannot be overwritten"):
            gallery.remove("Bob")
        assert gallery.person("Bob").photos == 2


def test_what_a_killed_process_left_goes_with_the_next_removal(path: Path) -> None:
    part = path.with_name("people.db.templates.0a0b0c.part")
    part.write_bytes(copy_of(path).read_bytes())
    with Gallery(path, create="never") as gallery:
        gallery.remove("Bob")
    assert not part.exists()


def test_a_busy_gallery_is_searched_and_its_file_stays(
    path: Path, reader: PixelReader, photos: Photos
) -> None:
    """Opening never waits for a writer to bring the file up to date."""
    with Gallery(path, reader=reader) as gallery:
        gallery.add("Dee", *photos(4))
    before = copy_of(path).read_bytes()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Gallery(path, create="never") as gallery:
        assert gallery.templates() == 8
    writer.execute("ROLLBACK")
    writer.close()
    assert copy_of(path).read_bytes() == before
    agrees(path)


def test_one_photo_more_costs_no_reading(
    path: Path, reader: PixelReader, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery(path, reader=reader) as gallery, Gallery(path, reader=reader) as other:
        gallery.refresh()
        index = gallery._index
        whole = reads(monkeypatch)
        gallery.add("Dee", *photos(4))
        other.add("Eva", *photos(5))
        other.rename("Ann", "Anna")
        other.remove("Cem")
        assert gallery.refresh()
        assert not gallery.refresh()
        assert gallery._index is index
        assert whole == []
        assert gallery.templates() == 8
        found = gallery.search(probes(), 4)
        assert found.names == plain(path).search(probes(), 4).names
        assert gallery.search(probes(), 9).person_ids[0].tolist().count(-1) == 5


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "rename", "open", "refresh", "damage", "lose"]),
            st.integers(1, 6),
        ),
        max_size=12,
    )
)
def test_any_order_of_changes(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    """One gallery stays open, others come and go; all find what a plain index finds."""
    folder = tmp_path / os.urandom(6).hex()
    folder.mkdir()
    place = folder / "people.db"
    reader = PixelReader()
    with Gallery(place, reader=reader) as stays:
        for number, (action, person) in enumerate(steps):
            name = f"P{person}"
            with Gallery(place, reader=reader) as visitor:
                names = {one.name for one in visitor.people()}
                if action == "add":
                    visitor.add(name, paint(folder / f"{number}.png", person=person, shade=number))
                elif action == "remove" and name in names:
                    visitor.remove(name)
                elif action == "rename" and name in names:
                    visitor.rename(name, f"{name}-{number}")
                elif action == "open":
                    visitor.refresh()
                elif action == "refresh":
                    stays.refresh()
                elif action == "damage" and copy_of(place).exists():
                    content = bytearray(copy_of(place).read_bytes())
                    content[person * 700] ^= 1
                    copy_of(place).write_bytes(content)
                elif action == "lose":
                    copy_of(place).unlink(missing_ok=True)
        stays.refresh()
        expected = plain(place)
        found = stays.search(probes(), 4)
        assert found.names == expected.search(probes(), 4).names
        assert stays.templates() == len(expected)
    agrees(place)


SCRIPT = """
import runpy, sys
from pathlib import Path
root, place, first = sys.argv[1:]
runpy.run_path(str(Path(root, "conftest.py")))
sys.path.insert(0, root)
from facestream.pipeline.gallery import Gallery, cache
from tests.pixels import PixelReader, paint
cache.CACHED = 4
folder = Path(place).parent
for number in range(int(first), int(first) + 4):
    with Gallery(place, reader=PixelReader()) as gallery:
        photo = paint(folder / f"{number}.png", person=number, shade=number)
        gallery.add(f"Q{number}", photo)
        gallery.refresh()
        if number % 2:
            gallery.remove(f"Q{number}")
"""


def test_several_processes_at_once(path: Path) -> None:
    """Each adds, loads and removes; the file is as the gallery at the end, and nobody is left."""
    root = Path(__file__).parents[3]
    running = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(root), str(path), str(first)])
        for first in (20, 40)
    ]
    with Gallery(path, create="never") as gallery:
        wrong: list[object] = []
        done = threading.Event()

        def search() -> None:
            while not done.is_set():
                found = gallery.search(mu, 1)
                if found.names != (("Ann",),):
                    wrong.append(found)

        mu = mu_of(gallery, "Ann")
        searching = threading.Thread(target=search)
        searching.start()
        try:
            while any(process.poll() is None for process in running):
                gallery.refresh()
        finally:
            done.set()
            searching.join()
            assert [process.wait() for process in running] == [0, 0]
        assert wrong == []
        gallery.refresh()
        assert gallery.templates() == 10
    agrees(path)
    rows = read_rows(copy_of(path))
    with Gallery(path, create="never") as gallery:
        assert set(rows.labels.tolist()) - {0} == {person.id for person in gallery.people()}
    assert list(path.parent.glob("*.part")) == []
