"""A gallery of made-up people, whose embeddings lie among those of the shipped cohort."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import ModelCard, load_card
from facestream.pipeline.core.types import Floats
from facestream.pipeline.gallery.records import Embedded, Face
from facestream.pipeline.gallery.store import Store
from facestream.pipeline.recognition.cohort import load_cohort
from facestream.pipeline.recognition.encoder import DEFAULT_MODEL
from facestream.pipeline.recognition.uncertainty import normalise

PEOPLE = 30
TWINS = ("Person 00", "Person 01")


@pytest.fixture(scope="session")
def card() -> ModelCard:
    return load_card(DEFAULT_MODEL)


def made_up(count: int, model: str, *, seed: int = 0) -> Floats:
    """People who resemble two strangers of the cohort each."""
    vectors = load_cohort(model).vectors
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(len(vectors))[: 2 * count].reshape(count, 2)
    return normalise(vectors[pairs[:, 0]] + vectors[pairs[:, 1]])


def photo_of(person: Floats, rng: np.random.Generator, *, noise: float = 0.06) -> Floats:
    """Another embedding of the person."""
    return normalise(person + rng.normal(0, noise, person.shape).astype(np.float32))


def enrol(store: Store, name: str, mu: Floats, model: str) -> None:
    """Add a photo with this embedding."""
    digest = hashlib.sha256(mu.tobytes()).hexdigest()
    face = Face(
        path=f"{name}.jpg",
        sha256=digest,
        width=100,
        height=100,
        box=np.array([1, 1, 60, 60], np.float32),
        landmarks=np.full((5, 2), 20, np.float32),
        score=0.99,
        crop=np.full((112, 112, 3), int(digest[:2], 16), np.uint8),
    )
    store.add_face(name, face, Embedded(model, mu, np.full_like(mu, -0.7)))


@pytest.fixture(scope="session")
def people_db(tmp_path_factory: pytest.TempPathFactory, card: ModelCard) -> Path:
    """30 people with two photos each; the first two are twins. Tests copy it."""
    path = tmp_path_factory.mktemp("people") / "people.db"
    rng = np.random.default_rng(1)
    people = made_up(PEOPLE, card.id)
    people[1] = normalise(people[0] + 0.5 * people[1])
    store = Store(path, create="if_missing")
    for number, person in enumerate(people):
        for _ in range(2):
            enrol(store, f"Person {number:02}", photo_of(person, rng), card.id)
    store.close()
    return path
