"""Unnamed sightings become people: clusters that grow, names, corrections, and all of it undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import load_card
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import GalleryError, UsageError
from facestream.pipeline.core.events import FusedTemplate, Left
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery.gallery import Gallery
from facestream.pipeline.gallery.records import Embedded, Face
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.sightings import Sightings
from facestream.pipeline.sightings.corrections import Corrections
from facestream.pipeline.sightings.enrolment import learn_sightings
from facestream.pipeline.sightings.feedback import feedback
from facestream.pipeline.sightings.people import split_person
from facestream.pipeline.sightings.reidentify import reidentify
from facestream.pipeline.sightings.unknowns import Unknowns
from facestream.pipeline.sightings.writer import SightingWriter

from tests.pipeline.sightings.stored import left
from tests.pixels import PixelReader

MODEL = load_card("vae_encoder").id
DIM = 128


@pytest.fixture
def sightings(database: Path | str) -> Iterator[Sightings]:
    with Sightings(database, create="if_missing") as opened:
        yield opened


@pytest.fixture
def unknowns(sightings: Sightings) -> Unknowns:
    return Unknowns(sightings, who="ann")


@pytest.fixture
def corrections(sightings: Sightings) -> Corrections:
    return Corrections(sightings, who="ann")


def centre(person: int) -> Floats:
    return np.random.default_rng(person).normal(size=DIM).astype(np.float32)


def mu_of(person: int, picture: int, *, noise: float = 0.4) -> Floats:
    """Two pictures of a person have a cosine of about 0.86."""
    chance = np.random.default_rng([person, picture])
    return (centre(person) + noise * chance.normal(size=DIM)).astype(np.float32)


def seen(
    person: int,
    picture: int,
    *,
    at: float | None = None,
    sigma: float = 0.6,
    source: str = "door",
    mu: Floats | None = None,
) -> Left:
    """A sighting with a picture of its own."""
    start = 3600.0 * picture + 60 * person if at is None else at
    event = left(start=start, source=source).model_copy(update={"model": MODEL})
    pixels = np.random.default_rng([person, picture]).integers(0, 255, (112, 112, 3))
    event = event.with_image(pixels.astype(np.uint8), pixels.astype(np.uint8))
    fused = mu_of(person, picture) if mu is None else mu
    logvar = np.full(DIM, 2 * np.log(sigma), np.float32)
    return event.with_template(FusedTemplate(fused, logvar, sigma))


def store(sightings: Sightings, *events: Left) -> list[str]:
    with SightingWriter(sightings) as writer:
        for event in events:
            writer.event(event, pace="waits")
    return [event.sighting for event in events]


def enrol(sightings: Sightings, name: str, person: int, *pictures: int) -> None:
    file = Store(sightings.location, create="never")
    for picture in pictures:
        face = Face(
            path=f"{name}-{picture}.png",
            sha256=f"{person}-{picture}",
            width=112,
            height=112,
            box=np.zeros(4, np.float32),
            landmarks=np.zeros((5, 2), np.float32),
            score=1.0,
            crop=np.zeros((112, 112, 3), np.uint8),
        )
        mu = mu_of(person, picture)
        file.add_face(name, face, Embedded(MODEL, mu, np.full_like(mu, -1)))
    file.close()


def names(sightings: Sightings, uids: list[str]) -> list[str]:
    return [sightings.get(uid).name for uid in uids]


def test_clusters_grow_and_keep_their_numbers(sightings: Sightings, unknowns: Unknowns) -> None:
    store(sightings, *(seen(person, n) for n in range(3) for person in (1, 2)))
    assert unknowns.update() == 6
    first = unknowns.list()
    assert [(one.size, one.visits, one.days) for one in first] == [(3, 3, 1), (3, 3, 1)]
    assert [one.cameras for one in first] == [("door",), ("door",)]
    assert all((one.probability or 0) > 0.9 for one in first)
    store(sightings, seen(1, 40, source="gate"), seen(3, 1))
    assert unknowns.update() == 2
    assert unknowns.update() == 0
    grown, same, new = unknowns.list()
    assert (grown.id, grown.size, grown.visits, grown.days) == (first[0].id, 4, 4, 2)
    assert grown.cameras == ("door", "gate")
    assert (same.id, same.size) == (first[1].id, 3)
    assert (new.size, new.probability) == (1, None)
    # Another process sees the same.
    again = Unknowns(sightings)
    assert again.update() == 0
    assert again.list() == unknowns.list()


def test_the_best_picture_is_sure_and_large(sightings: Sightings, unknowns: Unknowns) -> None:
    events = [seen(1, n, sigma=sigma) for n, sigma in enumerate((0.9, 0.62, 0.6))]
    events[1] = events[1].model_copy(update={"best_box": (0.0, 0.0, 200.0, 240.0)})
    uids = store(sightings, *events)
    unknowns.update()
    (one,) = unknowns.list()
    assert one.best.id == uids[1]
    assert one.to_dict()["picture"].endswith(f"{uids[1]}-face.jpg")


def test_an_uncertain_face_is_put_to_one_and_joins_nothing(
    sightings: Sightings, unknowns: Unknowns
) -> None:
    """Between two people, and similar to both."""
    store(sightings, *(seen(person, n) for n in range(3) for person in (1, 2)))
    between: Floats = (centre(1) + centre(2)).astype(np.float32)
    store(
        sightings,
        *(
            seen(9, n, mu=(between + mu_of(9, n) / 9).astype(np.float32), sigma=1.0)
            for n in range(4)
        ),
    )
    unknowns.update()
    assert sorted(one.size for one in unknowns.list() if one.size > 1)[-2:] != [10]
    assert len([one for one in unknowns.list() if one.size >= 3]) == 2


def test_two_faces_of_one_moment_are_two_people(sightings: Sightings, unknowns: Unknowns) -> None:
    store(sightings, seen(1, 0), seen(1, 1), seen(1, 2))
    unknowns.update()
    store(sightings, seen(1, 3, at=90000.0), seen(1, 4, at=90001.0), seen(1, 5, at=90010.0))
    unknowns.update()
    assert sorted(one.size for one in unknowns.list()) == [1, 5]


def test_a_cluster_gets_a_name_also_in_the_past(
    sightings: Sightings, unknowns: Unknowns, corrections: Corrections
) -> None:
    uids = store(sightings, *(seen(1, n) for n in range(4)), seen(2, 0))
    unknowns.update()
    late = store(sightings, seen(1, 7))  # is in no cluster yet
    done = unknowns.name(unknowns.list()[0].id, "Ada")
    assert (done.sightings, done.resembling, done.new) == (4, 1, True)
    assert 1 <= done.photos <= 5
    assert names(sightings, [*uids, *late]) == ["Ada"] * 4 + ["unknown", "Ada"]
    assert sightings.get(uids[0]).fixed
    assert not sightings.get(late[0]).fixed
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        photos = gallery.photos("Ada")
        assert {photo.path for photo in photos} <= {f"sighting-{uid}" for uid in uids}
        assert {photo.notes.origin.sighting for photo in photos if photo.notes.origin} <= set(uids)
        assert gallery.search(mu_of(1, 9)[None]).names[0][0] == "Ada"
    (decision,) = corrections.history(uids[0])
    assert (decision.operation.who, decision.operation.kind) == ("ann", "name")
    assert (decision.before["name"], decision.after["name"]) == (None, "Ada")
    assert corrections.undo().summary.startswith("named cluster")
    assert names(sightings, [*uids, *late]) == ["unknown"] * 6
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        assert gallery.people() == []
    assert len(corrections.history(uids[0])) == 2
    assert sorted(one.size for one in unknowns.list()) == [1, 4]


def test_pictures_that_resemble_somebody_else_are_not_enrolled(
    sightings: Sightings, unknowns: Unknowns
) -> None:
    store(sightings, *(seen(1, n) for n in range(3)), *(seen(2, n, sigma=0.95) for n in range(3)))
    unknowns.update()
    enrol(sightings, "Twin", 1, 20, 21)
    twin, poor, *_ = unknowns.list()
    assert (twin.size, poor.size) == (3, 1)  # unclear faces connect nothing
    assert unknowns.name(twin.id, "Ada").photos == 0
    assert unknowns.name(poor.id, "Bob").photos == 0


def test_ignored_people_stay_ignored(
    sightings: Sightings, unknowns: Unknowns, corrections: Corrections
) -> None:
    uids = store(sightings, *(seen(person, n) for n in range(3) for person in (1, 2)))
    unknowns.update()
    first = unknowns.list()[0].id
    assert unknowns.ignore(first).state == "ignored"
    uids += store(sightings, seen(1, 8))
    unknowns.update()
    assert [one.id for one in unknowns.list(state="ignored")] == [first]
    assert unknowns.get(first).size == 4
    last = sightings.get(uids[-1])
    assert (last.ignored, last.verdict) == (True, "unsure")
    assert last.to_dict()["ignored"] is True
    corrections.undo()
    assert len(unknowns.list()) == 2
    assert not any(sightings.get(uid).ignored for uid in uids)


def test_merged_and_split_by_hand(
    sightings: Sightings, unknowns: Unknowns, corrections: Corrections
) -> None:
    uids = store(sightings, *(seen(person, n) for n in range(3) for person in (1, 2)))
    unknowns.update()
    one, other = (each.id for each in unknowns.list())
    assert unknowns.merge(one, other).size == 6
    with pytest.raises(UsageError, match=f"part of cluster {one} now"):
        unknowns.get(other)
    half = unknowns.split(one)
    assert (half.size, unknowns.get(one).size) == (3, 3)
    assert set(half.sightings) in ({*uids[::2]}, {*uids[1::2]})
    store(sightings, *(seen(person, n) for n in (5, 6) for person in (1, 2)))
    unknowns.update()
    assert sorted(each.size for each in unknowns.list()) == [5, 5]  # they stay two
    out = unknowns.split(one, [unknowns.get(one).sightings[0][:12]])
    assert (out.size, unknowns.get(one).size) == (1, 4)
    mistakes: list[Callable[[], object]] = [
        lambda: unknowns.merge(one),
        lambda: unknowns.merge(one, one),
        lambda: unknowns.split(one, list(unknowns.get(one).sightings)),
        lambda: unknowns.split(one, [out.sightings[0]]),
        lambda: unknowns.split(out.id),
        lambda: unknowns.get(99),
    ]
    for mistake in mistakes:
        with pytest.raises(UsageError):
            mistake()
    for _ in range(3):
        corrections.undo()
    assert {one, other} <= {each.id for each in unknowns.list()}
    with pytest.raises(UsageError, match="nothing to undo"):
        corrections.undo()


def test_not_this_person_holds_for_look_alikes(
    sightings: Sightings, unknowns: Unknowns, corrections: Corrections
) -> None:
    enrol(sightings, "Ada", 1, 20, 21)
    # A look-alike: her pictures resemble each other more than Ada.
    twin = (centre(1) + 0.8 * centre(5)).astype(np.float32)
    mus: list[Floats] = [(twin + mu_of(7, n) / 5).astype(np.float32) for n in range(3)]
    uids = store(sightings, *(seen(7, n, mu=mu) for n, mu in enumerate(mus)), seen(1, 3))
    with sightings.reading() as connection:
        ada = connection.exec_driver_sql("SELECT id FROM people").scalar_one()
    assert reidentify(sightings, corrections._settings, [ada]) == 4
    assert names(sightings, uids) == ["Ada"] * 4
    corrections.is_not(uids[0], "Ada")
    assert names(sightings, uids) == ["unknown"] * 3 + ["Ada"]
    # A run asks through the same search.
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        search = gallery.searcher(MODEL, load_cohort(MODEL))
        found = search.search(np.stack([mus[2], mu_of(1, 9)]), 1)
        assert found.names == ((None,), ("Ada",))
        corrections.undo()
        search.refresh()
        assert search.search(mus[2][None], 1).names == (("Ada",),)
    assert names(sightings, uids) == ["Ada"] * 4


def test_a_human_decision_stays(sightings: Sightings, corrections: Corrections) -> None:
    enrol(sightings, "Ada", 1, 20)
    enrol(sightings, "Bob", 2, 20)
    first, second, third = store(sightings, seen(1, 0), seen(1, 1), seen(2, 1))
    corrections.is_person(first, "bob")
    corrections.stranger(second)
    corrections.ignore(third)
    assert corrections.reidentify(["Ada"]) == 0
    assert names(sightings, [first, second, third]) == ["Bob", "unknown", "unknown"]
    assert sightings.get(second).verdict == "stranger"
    assert corrections.reidentify(["Bob"]) == 1
    with pytest.raises(UsageError, match="is 'Bob'"):
        corrections.ignore(first)
    known = {(one.sighting, one.right): one for one in feedback(sightings)}
    assert set(known) == {(first, True)}
    assert known[first, True].similarity < 0.4  # she looks like Ada
    corrections.is_not(first, "Bob")
    assert [(one.sighting, one.right) for one in feedback(sightings)] == [(first, False)]
    # The next run's row of the same sighting does not change what was said.
    with SightingWriter(sightings) as writer:
        again = seen(1, 1).model_copy(update={"sighting": second, "verdict": "unsure"})
        writer.event(again, pace="waits")
    assert sightings.get(second).verdict == "stranger"


def test_people_are_merged_split_and_removed(
    sightings: Sightings, corrections: Corrections
) -> None:
    enrol(sightings, "Ada", 1, 20, 21)
    enrol(sightings, "Grace", 2, 20)
    uids = store(sightings, seen(1, 0), seen(2, 0), seen(2, 1))
    assert corrections.reidentify(["Ada", "Grace"]) == 3
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        before = gallery.people()
        gallery.merge("Ada", "Grace")
        assert names(sightings, uids) == ["Ada"] * 3
        assert corrections.operations()[0].summary == "merged 'Grace' into 'Ada'"
        corrections.undo()
        assert gallery.people() == before
        assert names(sightings, uids) == ["Ada", "Grace", "Grace"]
        assert gallery.search(mu_of(2, 5)[None], 1).names == (("Grace",),)

        gallery.merge("Ada", "Grace")
        photos = [photo.id for photo in gallery.photos("Ada") if "Grace" in photo.path]
        done = split_person(sightings, corrections._settings, "Ada", photos, "Hopper")
        assert done.sightings == 2
        assert names(sightings, uids) == ["Ada", "Hopper", "Hopper"]
        gallery.refresh()
        assert gallery.search(mu_of(2, 5)[None], 1).names == (("Hopper",),)
        with pytest.raises(GalleryError, match="and not all"):
            split_person(sightings, corrections._settings, "Hopper", photos, "X")
        corrections.undo()
        assert names(sightings, uids) == ["Ada"] * 3
        assert len(gallery.photos("Ada")) == 3

        gallery.remove("Ada")
        gone = sightings.get(uids[0])
        assert (gone.name, gone.verdict, gone.reason) == ("unknown", "unsure", "removed")
        assert corrections.history(uids[0])[-1].before["name"] == "person 1 (removed)"


def test_two_processes_cluster_at_once(sightings: Sightings) -> None:
    store(sightings, *(seen(person, n) for n in range(6) for person in range(5)))

    def work(_: int) -> int:
        with Sightings(sightings.location) as own:
            return Unknowns(own).update()

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, range(3))) == 30
    assert [one.size for one in Unknowns(sightings).list()] == [6] * 5


def test_a_face_that_was_rejected_is_not_learned(
    sightings: Sightings, corrections: Corrections
) -> None:
    """Faces of sightings are learned by the same rules as those of clusters, and undone as they."""
    enrol(sightings, "Ada", 1, 0)
    other = mu_of(1, 21, noise=0.8)
    uids = store(
        sightings,
        seen(1, 20, mu=mu_of(1, 20, noise=0.7)),
        seen(1, 21, mu=other),
        seen(2, 0),
        seen(1, 22, sigma=1.1),
        seen(1, 23, mu=(other + 0.1 * mu_of(5, 1)).astype(np.float32)),
    )
    corrections.is_not(uids[1], "Ada")
    done = learn_sightings(sightings, Settings(), "Ada", uids)
    assert [one.reason for one in done] == [
        None, "not_similar", "not_similar", "uncertain", "not_similar",
    ]  # fmt: skip
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        _, learned = gallery.photos("Ada")
        assert learned.notes.origin is not None
        assert learned.notes.origin.sighting == uids[0]
    assert corrections.undo().kind == "photos_learned"
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        assert len(gallery.photos("Ada")) == 1
    assert [one.reason for one in learn_sightings(sightings, Settings(), "Eve", uids[2:4])] == [
        None,
        "uncertain",
    ]
    corrections.undo()
    with Gallery(sightings.location, reader=PixelReader()) as gallery:
        assert [one.name for one in gallery.people()] == ["Ada"]
