"""On what evidence a sighting was named, or why it was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from facestream.engines.cards import load_card

from ..core.config import Settings
from ..core.types import Reason
from ..identity.search import SearchableGallery, open_matcher
from ..recognition.encoder import DEFAULT_MODEL
from .corrections import Corrections, Decision
from .records import Sighting
from .store import Sightings

WORDS: Final[Mapping[Reason | str, str]] = {
    "uncertain": "The picture shows too little of the face.",
    "too_small": "The face is too small.",
    "ambiguous": "Two people are about equally similar.",
    "no_gallery": "Nobody was enrolled.",
    "taken": "The best person was in the same frame, more similar elsewhere.",
    "flat": "It moves as a picture of a face does.",
    "corrected": "A human took the name away.",
    "removed": "The person was removed from the gallery.",
    "pending": "It left before it was searched.",
}


@dataclass(frozen=True, slots=True)
class SimilarPerson:
    """Someone of the gallery as it is now, and the similarity to the sighting."""

    person_id: int
    name: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was decided of a sighting, and on what.

    Attributes:
        candidates: the most similar people of the gallery now, the best first; empty where the
            sighting's embedding is another model's.
        threshold: similarity that a name needs now; margin: its lead over the next person.
        max_sigma: most uncertainty that a name allows.
        words: the decision in a sentence.
        history: what was changed of it since it was seen, oldest first.
    """

    sighting: Sighting
    candidates: tuple[SimilarPerson, ...]
    threshold: float
    margin: float
    max_sigma: float
    words: str
    history: tuple[Decision, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the sighting."""
        people = [
            {"person_id": one.person_id, "name": one.name, "similarity": round(one.similarity, 4)}
            for one in self.candidates
        ]
        return {
            "candidates": people,
            "max_sigma": self.max_sigma,
            "threshold": round(self.threshold, 4),
            "margin": self.margin,
            "decisions": [one.to_dict() for one in self.history],
        }


def evidence_of(
    one: Sighting, sightings: Sightings, gallery: SearchableGallery, settings: Settings
) -> Evidence:
    """The evidence of a sighting, against the gallery as it is now."""
    card = load_card(DEFAULT_MODEL)
    rules = settings.for_source(one.source).recognition
    mu = sightings.template(one.id) if one.model == card.id else None
    matcher = open_matcher(gallery, card, rules)
    people: list[SimilarPerson] = []
    if mu is not None:
        found = matcher.search(mu[None])[0]
        people = [
            SimilarPerson(int(person), str(name), float(similar))
            for person, name, similar in zip(
                found.person_ids[0], found.names[0], found.similarities[0], strict=True
            )
            if person >= 0
        ]
    return Evidence(
        sighting=one,
        candidates=tuple(people),
        threshold=matcher.threshold(),
        margin=rules.margin,
        max_sigma=matcher.thresholds.max_sigma,
        words=_words(one),
        history=tuple(Corrections(sightings, settings).history(one.id)),
    )


def _words(one: Sighting) -> str:
    if one.fixed and one.person_id is not None:
        return "A human gave the name."
    if one.reason is None:
        return f"Named at a similarity of {one.similarity:.2f}."
    if one.reason == "below_threshold":
        return f"Nobody is similar enough: the best was {one.similarity:.2f}."
    return WORDS.get(one.reason, f"No name: {one.reason}.")
