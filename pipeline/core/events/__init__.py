"""What the pipeline tells the world: one JSON object per event.

A face that is followed is a *sighting*: it ``appeared``, may be ``identified`` and ``updated``,
and has ``left`` in the end; ``source_state`` tells how a source is.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from .base import SCHEMA_VERSION, Moment
from .picture import face_picture
from .sighting import (
    Appeared,
    FusedTemplate,
    Identified,
    Left,
    SightingEvent,
    TrackEvent,
    Updated,
)
from .source import SourceStateEvent, State

__all__ = [
    "SCHEMA_VERSION",
    "Appeared",
    "Event",
    "EventType",
    "FusedTemplate",
    "Identified",
    "Left",
    "Moment",
    "SightingEvent",
    "SourceStateEvent",
    "State",
    "TrackEvent",
    "Updated",
    "face_picture",
    "json_schema",
    "parse_event",
]

Event = Appeared | Identified | Updated | Left | SourceStateEvent
"""Anything that is told."""
EventType = Literal["appeared", "identified", "updated", "left", "source_state"]

_ANY: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse_event(line: str | bytes) -> Event:
    """The event of a line of JSON.

    Raises:
        pydantic.ValidationError: it is none, or one of another version.
    """
    return _ANY.validate_json(line)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a line of ``events.jsonl``."""
    schema = _ANY.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
