"""What ``gallery check`` found, as one list; and photos that are the same picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np

from ..core.errors import GalleryCorrupt
from ..core.types import Floats, Image

# Of 384 people of LFW (dev half), each searched by another picture among 1,806 photos, 95.8 %
# reach the threshold by one photo, 97.9 % by two and 99.6 % of 223 by three.
ENOUGH_PHOTOS = 2
# Photos that all resemble each other this much teach little: 96 % of LFW's pairs of different
# pictures of a person are less similar.
TOO_SIMILAR = 0.85
# Two crops are one picture from this correlation of their pixels on. Copies that were scaled by
# 0.5 to 1 and saved as JPEG have 0.99 or more; of LFW's pairs of a person 99.9 % have below 0.95.
SAME_PICTURE = 0.98
# Only photos whose embeddings are this similar are compared by their pixels.
MAYBE_SAME = 0.8
_SIDE = 32

FindingKind = Literal[
    "look_alike",
    "other_person",
    "outlier",
    "uncertain",
    "duplicate",
    "few_photos",
    "similar_photos",
]
Problem = Literal["other_person", "unlike", "uncertain"]
Mending = Literal["merge", "remove", "set-aside", "add"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a gallery that costs names or gives wrong ones.

    Attributes:
        kind: ``look_alike``: two people resemble each other (``same_person``: so much that they
            are probably one); ``other_person``: a photo resembles another person more than its
            own; ``outlier``: a photo does not resemble the person's other photos; ``uncertain``:
            it shows too little (sigma is 1 or more); ``duplicate``: two photos are one picture;
            ``few_photos``: the person has fewer than 2; ``similar_photos``: all photos of the
            person are nearly alike.
        person: the person.
        problem: True where it gives wrong names or none; else a hint.
        mending: the command of ``gallery`` that mends it.
        photo_id: the photo, or the one by which it shows; path: where it was when it was added.
        similarity: to the nearest other photo of the person, −1..1.
        other: the other person; other_photo_id: the other picture of a duplicate.
        other_similarity: to the nearest photo of ``other``, or of the duplicate.
        same_person: see ``kind``.
        sigma: uncertainty of the photo's embedding.
        photos: how many take part in recognition.
    """

    kind: FindingKind
    person: str
    problem: bool
    mending: Mending
    photo_id: int | None = None
    path: str | None = None
    similarity: float | None = None
    other: str | None = None
    other_photo_id: int | None = None
    other_similarity: float | None = None
    same_person: bool | None = None
    sigma: float | None = None
    photos: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the fields that do not apply."""
        content = {key: value for key, value in asdict(self).items() if value is not None}
        return {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in content.items()
        }


@dataclass(frozen=True, slots=True)
class SamePerson:
    """Two people who may be one: most photos of each resemble the other.

    Attributes:
        names: the one who was enrolled first comes first.
        photos: how many each has.
        similarity: of the two most similar photos, −1..1.
    """

    names: tuple[str, str]
    photos: tuple[int, int]
    similarity: float


@dataclass(frozen=True, slots=True)
class DoubtfulPhoto:
    """A photo that may be of somebody else, or shows too little.

    Attributes:
        name: whose photo it is.
        photo_id: see ``Photo``.
        path: of the picture when it was added.
        problem: ``other_person``: it resembles ``other`` more than the person's own photos;
            ``unlike``: it resembles none of them; ``uncertain``: sigma is 1 or more.
        similarity: to the nearest other photo of the person, −1..1; None where there is none.
        other: the name of the other person.
        other_similarity: to the nearest photo of ``other``.
        sigma: uncertainty of the photo's embedding.
    """

    name: str
    photo_id: int
    path: str
    problem: Problem
    similarity: float | None
    sigma: float
    other: str | None = None
    other_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class GalleryCheck:
    """The findings of a check, the most similar first.

    Attributes:
        people: how many were looked at.
        photos: how many of them.
        threshold: the similarity from which a face gets a name in this gallery.
        same: people who may be one.
        doubtful: photos that may be of somebody else, or show too little.
        findings: these and what is only a hint, the problems first.
    """

    people: int
    photos: int
    threshold: float
    same: tuple[SamePerson, ...] = ()
    doubtful: tuple[DoubtfulPhoto, ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the findings (each has a ``to_dict``)."""
        content: dict[str, Any] = _rounded(asdict(replace(self, findings=())))
        del content["findings"]
        return content


def finding_of_photo(photo: DoubtfulPhoto) -> Finding:
    """A doubtful photo as a finding."""
    return Finding(
        "outlier" if photo.problem == "unlike" else photo.problem,
        photo.name,
        problem=True,
        mending="set-aside",
        photo_id=photo.photo_id,
        path=photo.path,
        similarity=photo.similarity,
        other=photo.other,
        other_similarity=photo.other_similarity,
        sigma=photo.sigma,
    )


@dataclass(frozen=True, slots=True)
class Twins:
    """Two photos that may be one picture, by row of the check; ``similarity`` −1..1."""

    row: int
    other: int
    similarity: float


def same_pictures(pairs: Iterable[Twins], crop_of: Callable[[int], Image]) -> list[Twins]:
    """The pairs that are one picture by their pixels; ``crop_of`` reads the crop of a row."""
    seen: dict[int, Floats | None] = {}

    def small(row: int) -> Floats | None:
        if row not in seen:
            try:
                seen[row] = _fingerprint(crop_of(row))
            except GalleryCorrupt:
                seen[row] = None
        return seen[row]

    found: dict[tuple[int, int], Twins] = {}
    for pair in pairs:
        key = min(pair.row, pair.other), max(pair.row, pair.other)
        one, other = small(key[0]), small(key[1])
        if one is not None and other is not None and float(one @ other) >= SAME_PICTURE:
            found[key] = Twins(*key, pair.similarity)
    return list(found.values())


def _fingerprint(crop: Image) -> Floats:
    """The crop's grey values at 32×32, centred, of length 1."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    values = small.ravel() - small.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float32)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
