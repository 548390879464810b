"""What several routes answer with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..analysis import AnalyzedFace, FaceAnalyzer
from ..core.types import Floats, Reason, Verdict
from .problems import RequestRefused

Point = tuple[float, float]
Id = Annotated[int, Field(ge=1, le=2**53)]


class Answer(BaseModel):
    """The base of all answers and bodies; the docstring under each field is its documentation."""

    model_config = ConfigDict(
        use_attribute_docstrings=True, extra="forbid", frozen=True, from_attributes=True
    )

    @classmethod
    def copied(cls, record: object) -> Self:
        """From a record of the library whose attributes have the names of the fields."""
        return cls.model_validate(record)


class FoundFace(Answer):
    """A face in a picture."""

    box: tuple[float, float, float, float] = Field(examples=[[112.0, 80.5, 201.3, 196.0]])
    """x1, y1, x2, y2 in pixels of the picture; may reach beyond it."""
    landmarks: list[Point] = Field(
        examples=[[[135, 120], [178, 121], [156, 146], [138, 168], [174, 168]]]
    )
    """Left eye, right eye, nose, left and right mouth corner, as seen in the picture."""
    score: float = Field(examples=[0.9998])
    """The detector's probability, 0 to 1."""


class CandidateOut(Answer):
    """Someone whom a face may be."""

    person_id: int
    name: str
    similarity: float


class RecognisedFace(FoundFace):
    """A face and who it is."""

    name: str = Field(examples=["Ada Lovelace"])
    """The person's name, or ``unknown``."""
    person_id: int | None = Field(examples=[7])
    """The person's number; null when unknown."""
    similarity: float = Field(examples=[0.71])
    """To the best person, −1 to 1; 0 when nobody is enrolled."""
    probability: float = Field(examples=[0.999])
    """Calibrated, 0 to 1, that the best person is right."""
    uncertainty: float | None = Field(examples=[0.31])
    """Sigma of the embedding: smaller is more certain."""
    verdict: Verdict
    """``known``, ``stranger`` (surely nobody enrolled), or ``unsure``."""
    reason: Reason | None
    """Why the face is unknown; null when it has a name."""
    candidates: tuple[CandidateOut, ...] = ()
    """With the reason ``ambiguous``: whom it may be."""


def found_face(box: Floats, landmarks: Floats, score: float) -> FoundFace:
    """A detection as an answer."""
    return FoundFace(box=corners(box), landmarks=_points(landmarks), score=round(score, 4))


def recognised(face: AnalyzedFace, analyzer: FaceAnalyzer) -> RecognisedFace:
    """A recognised face as an answer."""
    identity = face.identity
    return RecognisedFace(
        box=corners(face.box),
        landmarks=_points(face.landmarks),
        score=round(face.score, 4),
        name=identity.name or "unknown",
        person_id=identity.person_id,
        similarity=_finite(identity.similarity),
        probability=_finite(identity.probability),
        uncertainty=_finite(face.sigma),
        verdict=analyzer.matcher.verdict(identity, face.sigma),
        reason=identity.reason,
        candidates=tuple(
            CandidateOut(person_id=one.person_id, name=one.name, similarity=_finite(one.similarity))
            for one in identity.candidates
        ),
    )


def corners(box: Floats) -> tuple[float, float, float, float]:
    """A box, to a tenth of a pixel."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    return x1, y1, x2, y2


def _points(landmarks: Floats) -> list[Point]:
    return [(round(float(x), 1), round(float(y), 1)) for x, y in landmarks]


def _finite(value: float) -> float:
    return round(float(value), 4) if np.isfinite(value) else 0.0


def camera_list(cameras: frozenset[str] | None) -> list[str] | None:
    """A scope as an answer; None: all."""
    return None if cameras is None else sorted(cameras)


def in_utc(at: datetime | None) -> datetime | None:
    """A time of a request; UTC where it names no zone.

    Raises:
        RequestRefused: 422, it is out of range.
    """
    if at is None:
        return None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise RequestRefused(422, "the time is out of range") from error
