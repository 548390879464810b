"""Frozen records of people and photos, detached from the database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from ..core.errors import RejectReason
from ..core.types import Faces, Floats, Image
from .names import name_key

PhotoReason = Literal[RejectReason, "duplicate", "other_person"]


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """The result of enrolling one photo.

    Attributes:
        path: the photo.
        accepted: True when it is in the gallery now, added by this call.
        reason: why not: ``no_face``, ``several_faces``, ``too_small``, ``unreadable``,
            ``synthetic`` (made or repaired by a network), ``duplicate`` (the person has it
            already), ``other_person`` (it is enrolled for another person); None when accepted.
        detail: the reason in words; empty when accepted.
        warnings: what may be wrong with a photo that was accepted, a line each.
    """

    path: Path
    accepted: bool
    reason: PhotoReason | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()

    @classmethod
    def already_enrolled(cls, path: Path, name: str, *, owner: str) -> Self:
        """A photo for ``name`` that ``owner`` has."""
        if name_key(owner) == name_key(name):
            return cls(path, False, "duplicate", "this photo is in the gallery already")
        return cls(path, False, "other_person", f"this photo is enrolled for '{owner}'")

    @property
    def rejected(self) -> bool:
        """True when it could not be used; a duplicate is no rejection."""
        return not self.accepted and self.reason != "duplicate"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who is enrolled.

    Attributes:
        id: stays the same when the person is renamed; never reused.
        name: as it is shown.
        created_at: UTC.
        photos: how many are enrolled.
    """

    id: int
    name: str
    created_at: datetime
    photos: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FaceOfPhoto:
    """The face of a photo.

    Attributes:
        path: where the picture was when it was added.
        sha256: of the file (or of the pixels, for a picture given as an array), in hex.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        box: 4 float32, the face in the picture.
        landmarks: 5×2 float32.
        score: the detector's probability.
    """

    path: str
    sha256: str
    width: int
    height: int
    box: Floats
    landmarks: Floats
    score: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Photo(FaceOfPhoto):
    """An enrolled photo; ``id`` is never reused, ``created_at`` is UTC."""

    id: int
    person_id: int
    created_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the person and the landmarks."""
        plain = ("id", "path", "sha256", "width", "height")
        return {
            **{name: getattr(self, name) for name in plain},
            "box": [round(float(value), 1) for value in self.box],
            "score": round(self.score, 4),
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Face(FaceOfPhoto):
    """A face that is good enough to enrol.

    Attributes:
        crop: aligned, 112×112×3 BGR uint8.
        warnings: what may be wrong with the photo, a line each.
    """

    crop: Image
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A model's embedding of a crop: mu D (not normalised) and logvar D, float32."""

    model_id: str
    mu: Floats
    logvar: Floats


class FaceReader(Protocol):
    """What enrolment needs of the networks; ``FaceAnalyzer`` is one."""

    @property
    def model_id(self) -> str:
        """Changes whenever the embeddings do."""
        ...

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        """The faces of a picture H×W×3 BGR uint8 from ``min_face`` pixels on."""
        ...

    def align(self, image: Image, landmarks: Floats) -> Image:
        """Crops N×112×112×3 BGR uint8 of the faces with these landmarks N×5×2."""
        ...

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        """mu N×D (not normalised) and logvar N×D of crops N×112×112×3 BGR uint8."""
        ...
