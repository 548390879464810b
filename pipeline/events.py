"""What the pipeline tells the world: one JSON object per sighting."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
)

from .types import Floats, Image, Reason

SCHEMA_VERSION: Literal[1] = 1

Pixels = Annotated[float, PlainSerializer(lambda value: round(value, 1), return_type=float)]
Fraction = Annotated[float, PlainSerializer(lambda value: round(value, 4), return_type=float)]
Seconds = Annotated[float, PlainSerializer(lambda value: round(value, 3), return_type=float)]


def _finite_or_none(value: Any) -> Any:
    # JSON has no NaN or infinity: what was never measured is null.
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None
    return value


class _Event(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Moment(_Event):
    """A point in time."""

    pts: Seconds
    """Presentation time: seconds since the start of the source."""
    utc: AwareDatetime
    """Wall-clock time (UTC, ISO 8601). For a file: when it was recorded, where it says so, else
    when it was opened, plus ``pts``."""

    @classmethod
    def at(cls, pts: float, utc: float) -> Moment:
        """From seconds since the source's start and seconds since the epoch."""
        return cls(pts=pts, utc=datetime.fromtimestamp(utc, UTC))


class Sighting(_Event):
    """One face followed from when it appeared to when it was gone."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format; it rises when a field changes its meaning or goes."""
    type: Literal["sighting"] = "sighting"
    """Kind of event."""
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Unique among all events of all runs."""
    source: str
    """Name of the source, without credentials."""
    track_id: int = Field(ge=0)
    """Number of the face track, unique within a run."""
    start: Moment
    """First frame the face was seen in."""
    end: Moment
    """Last frame the face was seen in."""
    person_id: int | None = None
    """The person's number in the gallery; null when unknown."""
    name: str = "unknown"
    """The person's name, or ``unknown``."""
    similarity: Fraction = Field(default=0.0, ge=-1.001, le=1.001)
    """To the best template of the gallery, −1 to 1; 0 when nothing was searched. The cosine, less
    what strangers share (with ``recognition.normalise = "none"`` the plain cosine)."""
    probability: Fraction = Field(default=0.0, ge=0, le=1)
    """Calibrated probability that the best person is right, 0 to 1."""
    uncertainty: Annotated[Fraction | None, BeforeValidator(_finite_or_none)] = None
    """Sigma of the face's fused embedding: smaller is surer; null when no embedding was made."""
    reason: Reason | None = None
    """Why it is unknown; null when it has a name."""
    best_box: tuple[Pixels, Pixels, Pixels, Pixels]
    """Box of the best picture: x1, y1, x2, y2 in pixels of the frame."""
    best_pts: Seconds
    """Presentation time of the best picture in seconds."""
    best_score: Fraction = Field(ge=0, le=1.001)
    """The detector's probability for the best picture, 0 to 1."""
    faces: int = Field(ge=1)
    """Number of detections that were gathered."""
    picture: str | None = None
    """Path of the best picture, relative to the folder of the events file where it lies below
    it; null when none was kept."""
    model: str
    """Identifier of the encoder the similarity comes from."""

    # The best picture itself travels with the event to the sinks, but never into JSON.
    _image: Image | None = PrivateAttr(default=None)

    @property
    def image(self) -> Image | None:
        """The best picture, H×W×3 BGR uint8, or None."""
        return self._image

    @property
    def known(self) -> bool:
        """True when it has a name from the gallery."""
        return self.person_id is not None

    def with_image(self, image: Image | None) -> Self:
        """The same event carrying this picture (see `face_picture`)."""
        event = self.model_copy()
        event._image = image
        return event

    def with_picture(self, path: str) -> Self:
        """The same event that names the file its picture was saved in."""
        return self.model_copy(update={"picture": path})

    def to_json(self) -> str:
        """One line of JSON, without the line end."""
        return self.model_dump_json()


def face_picture(image: Image, box: Floats, *, margin: float = 0.35, largest: int = 320) -> Image:
    """A copy of the frame around a face, for people to look at.

    Args:
        image: H×W×3 BGR uint8.
        box: x1, y1, x2, y2 in pixels; may reach outside the picture.
        margin: added on each side, as a part of the box's longer side.
        largest: longest side of the copy in pixels; larger ones are shrunk.

    Returns:
        At least 1×1 pixel, BGR uint8, its own memory.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in box)
    extra = margin * max(x2 - x1, y2 - y1)
    left = min(max(int(x1 - extra), 0), width - 1)
    top = min(max(int(y1 - extra), 0), height - 1)
    right = max(min(math.ceil(x2 + extra), width), left + 1)
    bottom = max(min(math.ceil(y2 + extra), height), top + 1)
    crop = image[top:bottom, left:right]
    scale = largest / max(crop.shape[:2])
    if scale >= 1:
        return crop.copy()
    import cv2

    size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a line of ``events.jsonl``."""
    schema = Sighting.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
