"""Sightings out of a file of events, as a run wrote it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from sqlalchemy import select

from ..core.errors import ImageError, UsageError
from ..core.events import FusedTemplate, Left, parse_event
from ..core.images import read_photo
from ..core.types import Verdict
from ..storage.names import name_key
from ..storage.schema import PersonRow
from .store import Sightings
from .writer import SightingWriter


@dataclass(slots=True)
class EventsImport:
    """What an import did.

    Attributes:
        sightings: how many were stored.
        without_embedding: of these, how many cannot be searched, for want of an embedding of the
            model in use.
        names_left_out: names that are nobody's in this database, and how often: their sightings
            are stored without a name.
        damaged: numbers of the lines that are no events, from 1.
        pictures_missing: how many pictures that events name are not there, or unreadable.
    """

    sightings: int = 0
    without_embedding: int = 0
    names_left_out: Counter[str] = field(default_factory=Counter)
    damaged: list[int] = field(default_factory=list)
    pictures_missing: int = 0


def import_events(sightings: Sightings, file: Path, *, model: tuple[str, int]) -> EventsImport:
    """Store the sightings whose ``left`` events are in a file (JSON lines).

    Importing a file again changes nothing. With ``events.embeddings = true`` the run wrote
    embeddings, by which the sightings can be searched. Pictures are taken from the file's folder.

    Args:
        model: id of the encoder and the dimension D of its embeddings; others are left out.

    Raises:
        UsageError: the file cannot be read, or has no event.
    """
    done = EventsImport()
    people = _people(sightings)
    try:
        with file.open("rb") as lines, SightingWriter(sightings) as writer:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    event = parse_event(line)
                except ValidationError:
                    done.damaged.append(number)
                    continue
                if isinstance(event, Left):
                    writer.event(_prepared(event, file.parent, people, model, done), pace="waits")
                    done.sightings += 1
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if done.damaged and not done.sightings:
        raise UsageError(f"{file} has no events of this version; give what 'run --events' wrote")
    return done


def _people(sightings: Sightings) -> dict[str, int]:
    with sightings.reading() as connection:
        rows = connection.execute(select(PersonRow.name_key, PersonRow.id))
        return {row.name_key: row.id for row in rows}


def _prepared(
    event: Left, folder: Path, people: Mapping[str, int], model: tuple[str, int], done: EventsImport
) -> Left:
    """The event as this database understands it, with its embedding and picture."""
    if event.known:
        person = people.get(name_key(event.name))
        verdict: Verdict = "known"
        if person is None:
            done.names_left_out[event.name] += 1
            verdict = "unsure"
        event = event.model_copy(update={"person_id": person, "verdict": verdict})
    # Ids of other galleries mean other people here.
    event = event.model_copy(update={"candidates": ()})
    if event.picture is not None:
        place = (folder / event.picture).resolve()
        try:
            if not place.is_relative_to(folder.resolve()):
                raise ImageError(f"{place} lies elsewhere")
            event = event.with_image(read_photo(place).image)
        except ImageError:
            done.pictures_missing += 1
    if event.embedding is None or (event.model, len(event.embedding)) != model:
        done.without_embedding += 1
        return event
    unit = np.array(event.embedding, np.float32)
    sigma = event.uncertainty or 1.0
    logvar = np.full(len(unit), 2 * math.log(sigma), np.float32)
    return event.with_template(FusedTemplate(unit * math.sqrt(len(unit)), logvar, sigma))
