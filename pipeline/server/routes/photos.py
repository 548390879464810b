"""Photos of people."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request, Response
from pydantic import Field

from ...core.errors import GalleryError, PersonNotFound
from ...gallery import PhotoResult
from ...gallery.directory import person_by_id, photo_crop, photo_ids, photos_of, remove_photo
from ...gallery.faces import PhotoContent
from ...gallery.records import NO_NOTES, Photo, PhotoReason
from ..dependencies import Examined, TheService, action_of, changes, changing, entry_for, looks
from ..models import Answer, corners, in_utc
from ..problems import RequestRefused
from ..service import Service
from ..uploads import MOST_PHOTOS, UploadedPicture, form_with, uploaded
from .people import PersonId, PersonOut

reading = looks("viewer", "photos")
writing = changes("operator", "photos")
routers = (reading, writing)

PhotoId = Annotated[int, Path(ge=1, le=2**53)]


class PhotoOut(Answer):
    """An enrolled photo; its picture is the aligned face, the photo itself is not kept."""

    id: int
    filename: str
    """What the file was called when it was added."""
    width: int
    height: int
    box: tuple[float, float, float, float]
    score: float
    created_at: datetime
    aside: bool
    """It was set aside: no face is compared with it."""
    aside_reason: str | None
    taken_at: datetime | None
    valid_from: datetime | None
    """It takes part in recognition from then on; null: always."""
    valid_until: datetime | None
    learned_from: str | None
    """The sighting whose face it is; null: somebody added it."""
    picture: str = Field(examples=["/api/v1/people/7/photos/31/picture"])

    @classmethod
    def of(cls, photo: Photo) -> PhotoOut:
        notes = photo.notes
        return cls(
            id=photo.id,
            filename=photo.path.rpartition("/")[2],
            width=photo.width,
            height=photo.height,
            box=corners(photo.box),
            score=round(photo.score, 4),
            created_at=photo.created_at,
            aside=notes.aside_at is not None,
            aside_reason=notes.aside_reason,
            taken_at=notes.taken_at,
            valid_from=notes.valid_from,
            valid_until=notes.valid_until,
            learned_from=None if notes.origin is None else notes.origin.sighting,
            picture=f"/api/v1/people/{photo.person_id}/photos/{photo.id}/picture",
        )


class PhotosOut(Answer):
    """A person's photos, the oldest first."""

    photos: list[PhotoOut]


class AcceptedPhoto(Answer):
    """A photo that is enrolled now."""

    index: int
    filename: str
    id: int | None
    warnings: list[str]
    """What may be wrong with it."""
    uncertainty: float | None
    """Sigma of its embedding."""


class RejectedPhoto(Answer):
    """A photo that is not enrolled."""

    index: int
    """Its place among the photos that were sent, from 0."""
    filename: str
    reason: PhotoReason
    detail: str
    """The reason in words."""


class EnrolledOut(Answer):
    """What became of each photo."""

    accepted: list[AcceptedPhoto]
    rejected: list[RejectedPhoto]
    job: str | None
    """Looks for the person among past sightings; null where no photo was added."""


class AsideIn(Answer):
    """Why a photo is set aside."""

    reason: str = Field(default="", max_length=200)


class DatesIn(Answer):
    """Dates of a photo; what is left out stays, null removes."""

    taken_at: datetime | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@reading.get("/people/{person_id}/photos")
def list_photos(person_id: PersonId, service: TheService) -> PhotosOut:
    """A person's photos."""
    return PhotosOut(photos=[PhotoOut.of(one) for one in photos_of(service.gallery, person_id)])


@writing.post(
    "/people/{person_id}/photos",
    dependencies=[Examined],
    openapi_extra=form_with("photos", several=True),
)
async def add_photos(person_id: PersonId, service: TheService, request: Request) -> EnrolledOut:
    """Enrol photos of a person; what cannot be used is rejected with the reason."""
    async with uploaded(request, "photos", most=MOST_PHOTOS) as photos:
        return await service.work.run(lambda: enrol(service, request, person_id, photos))


@reading.get(
    "/people/{person_id}/photos/{photo_id}/picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def photo_picture(person_id: PersonId, photo_id: PhotoId, service: TheService) -> Response:
    """The aligned face of a photo, 112×112."""
    data = photo_crop(service.gallery, person_id, photo_id)
    return Response(data, media_type="image/png")


@writing.delete("/people/{person_id}/photos/{photo_id}")
def delete_photo(
    person_id: PersonId, photo_id: PhotoId, service: TheService, request: Request
) -> PersonOut:
    """Remove a photo and its embedding; a person's last one stays."""
    try:
        with changing(request, f"photo {photo_id} of person {person_id}"):
            return PersonOut.of(remove_photo(service.gallery, person_id, photo_id))
    except PersonNotFound:
        raise
    except GalleryError as error:
        if error.__cause__ is not None:
            raise
        detail = "it is the person's last photo; remove the person instead"
        raise RequestRefused(409, detail) from error


@writing.post("/people/{person_id}/photos/{photo_id}/set-aside")
def set_aside(
    person_id: PersonId, photo_id: PhotoId, body: AsideIn, service: TheService, request: Request
) -> PhotoOut:
    """Keep a photo out of recognition without removing it."""
    _photo(service, person_id, photo_id)
    with changing(request, f"photo {photo_id} of person {person_id}"):
        service.gallery.set_aside([photo_id], reason=body.reason)
    return _photo(service, person_id, photo_id)


@writing.post("/people/{person_id}/photos/{photo_id}/restore")
def restore(
    person_id: PersonId, photo_id: PhotoId, service: TheService, request: Request
) -> PhotoOut:
    """Let a photo that was set aside take part in recognition again."""
    _photo(service, person_id, photo_id)
    with changing(request, f"photo {photo_id} of person {person_id}"):
        service.gallery.restore_photos([photo_id])
    return _photo(service, person_id, photo_id)


@writing.patch("/people/{person_id}/photos/{photo_id}")
def date(
    person_id: PersonId, photo_id: PhotoId, body: DatesIn, service: TheService, request: Request
) -> PhotoOut:
    """Say when a photo was taken, and from and until when it holds."""
    _photo(service, person_id, photo_id)
    notes = service.gallery.photo_notes(photo_id) or NO_NOTES
    dates: dict[str, Any] = {name: in_utc(getattr(body, name)) for name in body.model_fields_set}
    notes = replace(notes, **dates)
    if notes.valid_from and notes.valid_until and notes.valid_from >= notes.valid_until:
        raise RequestRefused(422, "valid_until must be later than valid_from")
    with changing(request, f"photo {photo_id} of person {person_id}"):
        service.gallery.date_photo(photo_id, notes)
    return _photo(service, person_id, photo_id)


def _photo(service: Service, person_id: int, photo_id: int) -> PhotoOut:
    for one in photos_of(service.gallery, person_id):
        if one.id == photo_id:
            return PhotoOut.of(one)
    raise PersonNotFound(f"person {person_id} has no photo {photo_id}")


def enrol(
    service: Service, request: Request, person_id: int, photos: list[UploadedPicture]
) -> EnrolledOut:
    """Enrol photos of a person that were sent, and say what became of each."""
    name = person_by_id(service.gallery, person_id).name
    contents = [PhotoContent.of_bytes(one.content, name=one.name) for one in photos]
    with changing(request, f"person {person_id}"):
        results = list(service.gallery.iter_add(name, contents))
    ids = photo_ids(service.gallery, [one.sha256 for one in contents])
    accepted, rejected = [], []
    for index, (photo, content, result) in enumerate(zip(photos, contents, results, strict=True)):
        if result.accepted:
            accepted.append(_accepted(index, photo, result, ids.get(content.sha256)))
        else:
            rejected.append(_rejected(index, photo, result))
    entry = entry_for(request, action_of(request), f"person {person_id}")
    job = service.reidentification.start(person_id, entry) if accepted else None
    return EnrolledOut(accepted=accepted, rejected=rejected, job=job)


def _accepted(
    index: int, photo: UploadedPicture, result: PhotoResult, photo_id: int | None
) -> AcceptedPhoto:
    sigma = None if result.sigma is None else round(result.sigma, 4)
    return AcceptedPhoto(
        index=index,
        filename=photo.name,
        id=photo_id,
        warnings=list(result.warnings),
        uncertainty=sigma,
    )


def _rejected(index: int, photo: UploadedPicture, result: PhotoResult) -> RejectedPhoto:
    reason = result.reason or "unreadable"
    return RejectedPhoto(index=index, filename=photo.name, reason=reason, detail=result.detail)
