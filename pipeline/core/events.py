"""The events of a run: one JSON object each.

A face that is tracked is a *sighting*: it ``appeared``, may be ``identified`` and ``updated``, and
at last has ``left``. ``source_state`` gives the state of a source, ``output_state`` that of an
output.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
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
    TypeAdapter,
)

from .types import Floats, Image, Reason, Verdict

SCHEMA_VERSION: Literal[2] = 2


def _finite_or_none(value: Any) -> Any:
    # JSON has no NaN or infinity: a value that was not measured is null.
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
    utc: AwareDatetime | None
    """Wall-clock time (UTC, ISO 8601). Of a camera: when the picture arrived. Of a video: when it
    was recorded, where it says so, else when it was opened, plus ``pts``. Of a photo: when it was
    taken, null where it does not say."""

    @classmethod
    def at(cls, pts: float, utc: float) -> Moment:
        """``utc`` in seconds since the epoch; NaN where it is not known."""
        return cls(pts=pts, utc=datetime.fromtimestamp(utc, UTC) if math.isfinite(utc) else None)


class EventBase(Record):
    """The fields of every event."""

    schema_version: Literal[2] = SCHEMA_VERSION
    """Version of this format; it rises when a field changes its meaning or is removed."""
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Unique among all events of all runs."""
    source: str
    """Name of the source, without credentials."""

    def to_json(self) -> str:
        """One line of JSON, without the line end."""
        return self.model_dump_json()


@dataclass(frozen=True, slots=True, eq=False)
class FusedTemplate:
    """The fused embedding of a sighting: ``mu`` and ``logvar``, D float32 each.

    ``clearest`` is the sigma of its surest embedding: poor ones are no better together.
    """

    mu: Floats
    logvar: Floats
    clearest: float = math.nan


class CandidateRecord(Record):
    """Someone whom an ambiguous face may be."""

    person_id: int
    """The person's number in the gallery."""
    name: str
    """The person's name."""
    similarity: Fraction = Field(ge=-1.001, le=1.001)
    """To the best template of the person, −1 to 1."""


class SightingEvent(EventBase):
    """The fields of every event of a sighting."""

    sighting: str
    """The sighting: the same in all its events, unique among all runs."""
    track_id: int = Field(ge=0)
    """Number of the face track, unique within a run."""
    person_id: int | None = None
    """The person's number in the gallery; null when unknown."""
    name: str = "unknown"
    """The person's name, or ``unknown``."""
    similarity: Fraction = Field(default=0.0, ge=-1.001, le=1.001)
    """To the best template of the gallery, −1 to 1; 0 when nothing was searched. The cosine,
    normalised by a cohort of strangers (with ``recognition.normalise = "none"`` not normalised)."""
    probability: Fraction = Field(default=0.0, ge=0, le=1)
    """Calibrated probability that the best person is right, 0 to 1."""
    uncertainty: Uncertainty = None
    """Sigma of the face's fused embedding: smaller is more certain; null without an embedding."""
    reason: Reason | None = None
    """Why the face is unknown; null when it has a name."""
    verdict: Verdict = "unsure"
    """``known``: a person of the gallery; ``stranger``: the face is clear and similar to nobody in
    the gallery; ``unsure``: it may be somebody of the gallery, the picture says too little."""
    candidates: tuple[CandidateRecord, ...] = ()
    """With the reason ``ambiguous``: the people the face may be, the most similar first."""
    flat: bool | None = None
    """True: the landmarks moved as those of a flat picture of a face, by now; false: they showed
    parallax; null: that cannot be told. No liveness check."""
    file: str | None = None
    """The photo's file, of a source of photos; null for video."""
    model: str
    """Identifier of the encoder the similarity comes from."""

    # Sinks get the pictures with the event; JSON never contains them.
    _image: Image | None = PrivateAttr(default=None)
    _face: Image | None = PrivateAttr(default=None)

    @property
    def image(self) -> Image | None:
        """The best picture so far, H×W×3 BGR uint8, or None."""
        return self._image

    @property
    def face(self) -> Image | None:
        """The aligned face of that picture, 112×112×3 BGR uint8, or None."""
        return self._face

    @property
    def known(self) -> bool:
        """True when the face has a name from the gallery."""
        return self.person_id is not None

    def with_image(self, image: Image | None, face: Image | None = None) -> Self:
        """The same event with this picture (see `face_picture`) and this aligned face."""
        event = self.model_copy()
        event._image, event._face = image, face
        return event


class Now(SightingEvent):
    """An event of a face that is visible now."""

    at: Moment
    """The frame of this event."""
    box: Box
    """The face's box in that frame: x1, y1, x2, y2 in pixels."""


class Appeared(Now):
    """A face appeared: its track has ``tracking.min_faces`` detections."""

    type: Literal["appeared"] = "appeared"
    """Kind of event."""
    start: Moment
    """First frame the face was seen in."""


class Identified(Now):
    """A face has a name: ``tracking.confirm`` searches agreed on it."""

    type: Literal["identified"] = "identified"
    """Kind of event."""
    after: Seconds = Field(ge=0)
    """Seconds from the first frame of the face to this event's."""


class Updated(Now):
    """A face's identity changed: another name, a name withdrawn, much more certainty."""

    type: Literal["updated"] = "updated"
    """Kind of event."""
    change: Literal["renamed", "withdrawn", "surer"]
    """``renamed``: another name than announced; ``withdrawn``: no name any more; ``surer``: the
    same name with clearly more certainty."""
    previous_person_id: int | None = None
    """The person before; null when unknown."""
    previous_name: str = "unknown"
    """The name before, or ``unknown``."""


class Left(SightingEvent):
    """A face left: the summary of its sighting."""

    type: Literal["left"] = "left"
    """Kind of event."""
    start: Moment
    """First frame the face was seen in."""
    end: Moment
    """Last frame the face was seen in."""
    best_box: Box
    """Box of the best picture: x1, y1, x2, y2 in pixels of the frame."""
    best_pts: Seconds
    """Presentation time of the best picture in seconds."""
    best_score: Fraction = Field(ge=0, le=1.001)
    """The detector's probability for the best picture, 0 to 1."""
    faces: int = Field(ge=1)
    """Number of detections."""
    looks: int = Field(default=0, ge=0)
    """Number of them that were embedded."""
    picture: str | None = None
    """Path of the best picture, relative to the folder of the events file where it lies below
    it; null when none was kept."""
    embedding: list[Component] | None = None
    """The fused embedding, D numbers of length 1, with ``events.embeddings = true``; else null."""

    _template: FusedTemplate | None = PrivateAttr(default=None)

    @property
    def template(self) -> FusedTemplate | None:
        """The fused embedding, or None when the face was never embedded."""
        return self._template

    def with_template(self, template: FusedTemplate | None) -> Self:
        """The same event with this fused embedding."""
        event = self.model_copy()
        event._template = template
        return event

    def with_embedding(self) -> Self:
        """The same event with its fused embedding, at length 1, where there is one."""
        if self._template is None:
            return self
        mu = np.asarray(self._template.mu, np.float64)
        unit = mu / max(float(np.linalg.norm(mu)), 1e-12)
        return self.model_copy(update={"embedding": unit.tolist()})

    def with_picture(self, path: str) -> Self:
        """The same event that names the file its picture was saved in."""
        return self.model_copy(update={"picture": path})


TrackEvent = Appeared | Identified | Updated | Left
"""Any event of a sighting."""

State = Literal[
    "connecting",  # it is opened for the first time
    "live",  # frames arrive
    "stalled",  # no frames, or the same picture for a long time
    "retrying",  # lost, or it cannot be opened; retried after a pause
    "paused",  # outside its schedule
    "ended",  # it ended, or the run was stopped
    "failed",  # given up
]


class SourceStateEvent(EventBase):
    """A source changed its state."""

    type: Literal["source_state"] = "source_state"
    """Kind of event."""
    utc: AwareDatetime
    """When (UTC, ISO 8601)."""
    state: State
    """The new state."""
    previous: State | None = None
    """The state before; null for the first."""
    reason: str | None = None
    """What happened, in words, without credentials; null where there is nothing to add."""
    retry_in: float | None = None
    """Seconds until the next try; null when none is planned."""
    restarts: int = 0
    """How many times it was reopened so far."""


OutputCause = Literal[
    "disk_full",  # also a quota
    "too_large",  # the largest size of a file is reached
    "denied",  # no permission, or a read-only file system
    "missing",  # its folder or device is gone
    "no_descriptors",  # too many open files
    "io_error",  # the device fails
    "failed",  # anything else
]


class OutputStateEvent(EventBase):
    """An output of a run with live sources fails, or works again."""

    source: str = ""
    """Empty: an output is of all sources."""
    type: Literal["output_state"] = "output_state"
    """Kind of event."""
    utc: AwareDatetime
    """When (UTC, ISO 8601)."""
    output: str
    """Which one: ``events``, ``pictures``, ``annotate``, ``restream``, or the name of a sink."""
    state: Literal["degraded", "recovered"]
    """``degraded``: it fails, what it loses is counted, it is tried again; ``recovered``: it
    works again."""
    cause: OutputCause
    """Class of the error."""
    reason: str
    """The last error, in words."""
    since: AwareDatetime
    """When it began to fail (UTC, ISO 8601)."""
    lost: int = Field(default=0, ge=0)
    """Events, pictures or frames that were lost since then."""


Event = TrackEvent | SourceStateEvent | OutputStateEvent
"""Any event."""
EventType = Literal["appeared", "identified", "updated", "left", "source_state", "output_state"]

_ANY: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse_event(line: str | bytes) -> Event:
    """The event of a line of JSON.

    Raises:
        pydantic.ValidationError: it is not an event of this version.
    """
    return _ANY.validate_json(line)


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a line of ``events.jsonl``."""
    schema = _ANY.json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


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
    import cv2  # not at the top: settings and events are used without pictures

    size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
    return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
