"""The events of a sighting: one face followed from when it appeared to when it was gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr

from ..types import Floats, Image, Reason
from .base import (
    Box,
    Component,
    EventBase,
    Fraction,
    Moment,
    Seconds,
    Uncertainty,
)


@dataclass(frozen=True, slots=True, eq=False)
class FusedTemplate:
    """The fused embedding of a sighting: ``mu`` and ``logvar``, D float32 each."""

    mu: Floats
    logvar: Floats


class SightingEvent(EventBase):
    """What the events of a sighting have in common."""

    sighting: str
    """The sighting: the same in all its events, unique among all runs."""
    track_id: int = Field(ge=0)
    """Number of the face track, unique within a run."""
    person_id: int | None = None
    """The person's number in the gallery; null when unknown."""
    name: str = "unknown"
    """The person's name, or ``unknown``."""
    similarity: Fraction = Field(default=0.0, ge=-1.001, le=1.001)
    """To the best template of the gallery, −1 to 1; 0 when nothing was searched. The cosine, less
    what strangers share (with ``recognition.normalise = "none"`` the plain cosine)."""
    probability: Fraction = Field(default=0.0, ge=0, le=1)
    """Calibrated probability that the best person is right, 0 to 1."""
    uncertainty: Uncertainty = None
    """Sigma of the face's fused embedding: smaller is surer; null when no embedding was made."""
    reason: Reason | None = None
    """Why it is unknown; null when it has a name."""
    model: str
    """Identifier of the encoder the similarity comes from."""

    # Pictures travel with an event to the sinks, but never into JSON.
    _image: Image | None = PrivateAttr(default=None)

    @property
    def image(self) -> Image | None:
        """The best picture so far, H×W×3 BGR uint8, or None."""
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


class Now(SightingEvent):
    """An event of a face that is in the picture now."""

    at: Moment
    """The frame that it tells of."""
    box: Box
    """The face's box in that frame: x1, y1, x2, y2 in pixels."""


class Appeared(Now):
    """A face is there: enough detections were gathered to believe it."""

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
    """What is known of a face changed: another name, a name withdrawn, much more certainty."""

    type: Literal["updated"] = "updated"
    """Kind of event."""
    change: Literal["renamed", "withdrawn", "surer"]
    """``renamed``: another name than announced; ``withdrawn``: no name any more; ``surer``: the
    same name with clearly more certainty."""
    previous_person_id: int | None = None
    """Who it was said to be before; null when nobody."""
    previous_name: str = "unknown"
    """The name before, or ``unknown``."""


class Left(SightingEvent):
    """A face is gone: the whole sighting."""

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
    """Number of detections that were gathered."""
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
        """The same event carrying the fused embedding."""
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
