"""What all events have in common."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

SCHEMA_VERSION: Literal[2] = 2


def _finite_or_none(value: Any) -> Any:
    # JSON has no NaN or infinity: what was never measured is null.
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None
    return value


Pixels = Annotated[float, PlainSerializer(lambda value: round(value, 1), return_type=float)]
Fraction = Annotated[float, PlainSerializer(lambda value: round(value, 4), return_type=float)]
Seconds = Annotated[float, PlainSerializer(lambda value: round(value, 3), return_type=float)]
Component = Annotated[float, PlainSerializer(lambda value: round(value, 6), return_type=float)]
Uncertainty = Annotated[Fraction | None, BeforeValidator(_finite_or_none)]
Box = tuple[Pixels, Pixels, Pixels, Pixels]


class Record(BaseModel):
    """A frozen part of an event; the docstring under each field is its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Moment(Record):
    """A point in time."""

    pts: Seconds
    """Presentation time: seconds since the start of the source."""
    utc: AwareDatetime
    """Wall-clock time (UTC, ISO 8601). Of a camera: when the picture arrived. Of a file: when it
    was recorded, where it says so, else when it was opened, plus ``pts``."""

    @classmethod
    def at(cls, pts: float, utc: float) -> Moment:
        """From seconds since the source's start and seconds since the epoch."""
        return cls(pts=pts, utc=datetime.fromtimestamp(utc, UTC))


class EventBase(Record):
    """What every event says."""

    schema_version: Literal[2] = SCHEMA_VERSION
    """Version of this format; it rises when a field changes its meaning or goes."""
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Unique among all events of all runs."""
    source: str
    """Name of the source, without credentials."""

    def to_json(self) -> str:
        """One line of JSON, without the line end."""
        return self.model_dump_json()
