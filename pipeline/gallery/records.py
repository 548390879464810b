"""Frozen records of people and photos, detached from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from ..core.errors import GalleryError, RejectReason
from ..core.types import Faces, Floats, Image
from ..storage.names import name_key, printable, shortened

# As wide as the encoder's prior: such a picture says next to nothing about who it is. The cosine to
# a clear picture of the same face is 0.56 at the median between 1.0 and 1.1, 0.44 up to 1.2.
POOR_SIGMA = 1.0

PhotoReason = Literal[
    RejectReason,
    "duplicate",
    "other_person",
    "resembles",
    "outlier",
    "uncertain",
    "not_similar",
    "redundant",
    "enough",
]


DoubtKind = Literal["resembles", "outlier"]


@dataclass(frozen=True, slots=True)
class PhotoDoubt:
    """Why a photo may not be of the person it is added to.

    Attributes:
        kind: ``resembles`` another person more than its own; ``outlier`` among the person's
            photos.
        name: the person it is added to.
        similarity: to the most similar photo of the person, −1..1; None without one.
        other: the person it resembles.
        other_similarity: to that person.
    """

    kind: DoubtKind
    name: str
    similarity: float | None
    other: str | None = None
    other_similarity: float | None = None

    def __str__(self) -> str:
        name = printable(self.name)
        if self.kind == "outlier":
            return f"does not resemble the photos of '{name}' ({self.similarity or 0:.2f})"
        text = f"resembles '{printable(self.other or '')}' ({self.other_similarity:.2f})"
        if self.similarity is not None:
            text += f" more than '{name}' ({self.similarity:.2f})"
        return f"{text}: same person? 'facestream gallery merge'"


@dataclass(frozen=True, slots=True)
class PhotoResult:
    """The result of enrolling one photo.

    Attributes:
        path: the photo.
        accepted: True when it is in the gallery now, added by this call.
        reason: why not: ``no_face``, ``several_faces``, ``too_small``, ``unreadable``,
            ``synthetic`` (made or repaired by a network), ``duplicate`` (the person has it
            already), ``other_person`` (it is enrolled for another person); under guard
            ``resembles`` (another person, more than its own) and ``outlier`` (none of the person's
            photos); of faces that are to be learned ``uncertain`` (it shows too little),
            ``not_similar`` (it is not surely the person), ``redundant`` (the person has such a
            photo) and ``enough`` (the person has as many learned photos as may be). None when
            accepted.
        detail: the reason in words; empty when accepted.
        warnings: what may be wrong with a photo that was accepted, a line each.
        sigma: uncertainty of the embedding; None when rejected.
        photo_id: of the stored photo; None when rejected.
        doubt: why it may not be of the person, though it was accepted; also one of ``warnings``.
    """

    path: Path
    accepted: bool
    reason: PhotoReason | None = None
    detail: str = ""
    warnings: tuple[str, ...] = ()
    sigma: float | None = None
    photo_id: int | None = None
    doubt: PhotoDoubt | None = None

    @classmethod
    def already_enrolled(cls, path: Path, name: str, *, owner: Person) -> Self:
        """A photo for ``name`` that ``owner`` has."""
        if owner.is_called(name):
            return cls(path, False, "duplicate", "this photo is in the gallery already")
        return cls(path, False, "other_person", f"this photo is enrolled for '{owner.name}'")

    @property
    def rejected(self) -> bool:
        """True when it could not be used; a duplicate is no rejection."""
        return not self.accepted and self.reason != "duplicate"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        sigma = None if self.sigma is None else round(self.sigma, 4)
        return {**asdict(self), "path": str(self.path), "sigma": sigma}


@dataclass(frozen=True, slots=True)
class FaceOrigin:
    """The sighting a face was learned from.

    Attributes:
        sighting: its id.
        source: camera or video.
        at: when the face was seen, UTC; None where that is not known.
    """

    sighting: str
    source: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PhotoNotes:
    """What is noted of a photo. Times are UTC; None: not known, or no limit.

    Attributes:
        aside_at, aside_reason: when and why it was set aside; such a photo takes no part in
            recognition.
        taken_at: when the picture was taken.
        valid_from, valid_until: it takes part in recognition in [from, until) only.
        origin: of a face that was learned from a sighting.
    """

    aside_at: datetime | None = None
    aside_reason: str | None = None
    taken_at: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    origin: FaceOrigin | None = None

    @property
    def empty(self) -> bool:
        """True when nothing is noted."""
        return self == NO_NOTES

    def check(self) -> None:
        """Raises GalleryError if it would never take part."""
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise GalleryError(
                f"a photo cannot hold from {self.valid_from:%Y-%m-%d %H:%M} until "
                f"{self.valid_until:%Y-%m-%d %H:%M}; the end must be later"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        aside, origin = None, None
        if self.aside_at is not None:
            aside = {"at": self.aside_at.isoformat(), "reason": self.aside_reason or ""}
        if self.origin is not None:
            origin = {**asdict(self.origin), "at": _iso(self.origin.at)}
        return {
            "taken": _iso(self.taken_at),
            "valid_from": _iso(self.valid_from),
            "valid_until": _iso(self.valid_until),
            "set_aside": aside,
            "learned_from": origin,
        }


NO_NOTES = PhotoNotes()


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


@dataclass(frozen=True, slots=True)
class MergedPerson:
    """Someone who was merged into another person.

    Attributes:
        id: the number in older events.
        name: the former name.
        at: when they were merged, UTC.
    """

    id: int
    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who is enrolled.

    Attributes:
        id: stays the same when the person is renamed; never reused.
        name: as it is shown.
        created_at: UTC.
        photos: how many are enrolled.
        merged: who was merged into this person.
        aside: how many of the photos are set aside.
    """

    id: int
    name: str
    created_at: datetime
    photos: int
    merged: tuple[MergedPerson, ...] = ()
    aside: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        merged = [{**asdict(one), "at": one.at.isoformat()} for one in self.merged]
        return {**asdict(self), "created_at": self.created_at.isoformat(), "merged": merged}

    def is_called(self, name: str) -> bool:
        """True for the name, and for those of who was merged into this person."""
        names = [self.name, *(one.name for one in self.merged)]
        return name_key(name) in map(name_key, names)


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
    notes: PhotoNotes = NO_NOTES

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the person and the landmarks."""
        plain = ("id", "path", "sha256", "width", "height")
        return {
            **{name: getattr(self, name) for name in plain},
            "box": [round(float(value), 1) for value in self.box],
            "score": round(self.score, 4),
            "created_at": self.created_at.isoformat(),
            **self.notes.to_dict(),
        }


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Face(FaceOfPhoto):
    """A face that is good enough to enrol.

    Attributes:
        crop: aligned, 112×112×3 BGR uint8.
        warnings: what may be wrong with the photo, a line each.
        notes: what is known of it, such as when it was taken.
    """

    crop: Image
    warnings: tuple[str, ...] = ()
    notes: PhotoNotes = NO_NOTES


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


def select_photo(photos: Sequence[Photo], wanted: str, *, name: str) -> Photo:
    """The one of a person's photos with this path, file name or id.

    Raises GalleryError if there is none, or several have the file name.
    """
    full = str(Path(wanted).absolute())
    found = [photo for photo in photos if photo.path in (wanted, full)]
    found = found or [photo for photo in photos if Path(photo.path).name == wanted]
    found = found or [photo for photo in photos if str(photo.id) == wanted]
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} photos" if found else "no photo"
    raise GalleryError(
        f"'{printable(name)}' has {count} '{shortened(wanted)}'; give the number or the path that "
        "'facestream gallery show' prints"
    )
