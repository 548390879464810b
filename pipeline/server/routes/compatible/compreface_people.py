"""The API of CompreFace: subjects (people) and their examples (photos)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ....analysis import AnalyzedFace
from ....core.errors import GalleryError, PersonNotFound
from ....core.images import decode_photo
from ....gallery.directory import (
    create_person,
    merge_people,
    photo_crop,
    photo_ids,
    remove_photo,
    rename_person,
)
from ....gallery.faces import PhotoContent
from ....gallery.records import Person
from ....recognition.uncertainty import normalise
from ...dependencies import Examined, TheService, changing, looked_up
from ...problems import RequestRefused
from ...service import Service
from ...uploads import UploadedPicture, uploaded
from ..pictures import analyzed
from .compreface import TheOptions, chosen, described, router, similarity, versions

reading = router("viewer", Depends(looked_up))
writing = router("operator")
routers = (reading, writing)

Subject = Annotated[str, Path(min_length=1, max_length=400)]
ImageId = Annotated[UUID, Path()]
Asked = Annotated[str, Query(min_length=1, max_length=400)]


class SubjectIn(BaseModel):
    """A subject's name; clients send more, which is not read."""

    subject: str = Field(min_length=1, max_length=400)


@reading.get("/recognition/subjects")
@reading.get("/recognition/subjects/", name="list_all_subjects")
def list_subjects(service: TheService) -> dict[str, Any]:
    """The names of all people."""
    return {"subjects": [person.name for person in service.gallery.people()]}


@writing.post("/recognition/subjects", status_code=201)
def add_subject(body: SubjectIn, service: TheService, request: Request) -> dict[str, Any]:
    """Make a person without photos."""
    with changing(request, body.subject):
        return {"subject": create_person(service.gallery, body.subject).name}


@writing.put("/recognition/subjects/{subject}")
def rename_subject(
    subject: Subject, body: SubjectIn, service: TheService, request: Request
) -> dict[str, Any]:
    """Rename a person; where somebody has that name the two become one."""
    gallery = service.gallery
    person = gallery.person(subject)
    other = _called(service, body.subject)
    with changing(request, f"{subject}: {body.subject}"):
        if other is None or other.id == person.id:
            rename_person(gallery, person.id, body.subject)
        else:
            merge_people(gallery, other.id, person.id)
    return {"updated": True}


@writing.delete("/recognition/subjects/{subject}")
def delete_subject(subject: Subject, service: TheService, request: Request) -> dict[str, Any]:
    """Remove a person with all photos."""
    with changing(request, subject):
        return {"subject": service.gallery.remove(subject).name}


@writing.delete("/recognition/subjects")
def delete_all_subjects() -> None:
    """Refused."""
    raise RequestRefused(403, "nobody removes all people at once here; name a subject")


@writing.post("/recognition/faces", status_code=201, dependencies=[Examined])
async def add_face(subject: Asked, service: TheService, request: Request) -> dict[str, Any]:
    """Enrol a photo, which shows one face, of a person, who is made with the first one."""
    async with uploaded(request, "file") as (picture,):
        return await service.work.run(lambda: _enrol(service, request, subject, picture))


@reading.get("/recognition/faces")
def list_faces(
    service: TheService,
    page: Annotated[int, Query(ge=0, le=10**9)] = 0,
    size: Annotated[int, Query(ge=1, le=1000)] = 20,
    subject: Annotated[str | None, Query(max_length=400)] = None,
) -> dict[str, Any]:
    """Photos, a page of them."""
    people = service.gallery.people() if not subject else [service.gallery.person(subject)]
    total = sum(person.photos for person in people)
    return {
        "faces": list(islice(_faces(service, people, skip=page * size), size)),
        "page_number": page,
        "page_size": size,
        "total_pages": math.ceil(total / size),
        "total_elements": total,
    }


@writing.delete("/recognition/faces")
def delete_faces(
    service: TheService, request: Request, subject: Annotated[str, Query(max_length=400)] = ""
) -> dict[str, Any]:
    """Remove all photos of a person, and so the person."""
    if not subject:
        raise RequestRefused(403, "nobody removes all photos at once here; name a subject")
    person = _called(service, subject)
    if person is not None:
        with changing(request, subject):
            service.gallery.remove(subject)
    return {"deleted": 0 if person is None else person.photos}


@writing.delete("/recognition/faces/{image_id}")
def delete_face(image_id: ImageId, service: TheService, request: Request) -> dict[str, Any]:
    """Remove a photo; with the last one the person goes."""
    person = _owner(service, image_id)
    with changing(request, f"photo {image_id.int} of {person.name}"):
        try:
            remove_photo(service.gallery, person.id, image_id.int)
        except PersonNotFound:
            raise
        except GalleryError as error:
            if error.__cause__ is not None:
                raise
            service.gallery.remove(person.name)
    return {"image_id": str(image_id), "subject": person.name}


@reading.get("/recognition/faces/{image_id}/img")
def face_image(image_id: ImageId, service: TheService) -> Response:
    """The aligned face of a photo; the photo itself is not kept."""
    owner = _owner(service, image_id)
    data = photo_crop(service.gallery, owner.id, image_id.int)
    return Response(data, media_type="image/png")


@reading.post("/recognition/faces/{image_id}/verify", dependencies=[Examined])
async def verify_face(
    image_id: ImageId, service: TheService, request: Request, options: TheOptions
) -> dict[str, Any]:
    """How similar the faces of a picture are to an enrolled photo."""
    async with uploaded(request, "file") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    faces = chosen(found, options)
    alike = await service.work.run(lambda: _alike(service, image_id, faces))
    result = [
        {**described(face, options), "similarity": one}
        for face, one in zip(faces, alike, strict=True)
    ]
    return {"result": result, **versions(service, options)}


def _alike(service: Service, image_id: UUID, faces: list[AnalyzedFace]) -> list[float]:
    owner = _owner(service, image_id)
    crop = decode_photo(photo_crop(service.gallery, owner.id, image_id.int)).image
    mu, _ = service.analyzer.embed(crop[None])
    kept = replace(faces[0], embedding=normalise(mu)[0])
    return [similarity(service, kept, face) for face in faces]


def _enrol(
    service: Service, request: Request, subject: str, picture: UploadedPicture
) -> dict[str, Any]:
    content = PhotoContent.of_bytes(picture.content, name=picture.name)
    with changing(request, subject):
        [result] = service.gallery.iter_add(subject, [content])
    if result.rejected:
        raise RequestRefused(400, result.detail, reason=result.reason)
    # A photo that the person has already is the same example.
    photo = photo_ids(service.gallery, [content.sha256])[content.sha256]
    return {"image_id": _image_id(photo), "subject": _owner(service, UUID(int=photo)).name}


def _faces(service: Service, people: list[Person], *, skip: int) -> Iterator[dict[str, Any]]:
    """All photos of these people but the first ``skip``."""
    for person in people:
        if skip < person.photos:
            for photo in service.gallery.photos(person.name)[skip:]:
                yield {"image_id": _image_id(photo.id), "subject": person.name}
        skip = max(skip - person.photos, 0)


def _image_id(photo: int) -> str:
    """A photo's number as the UUID that clients expect."""
    return str(UUID(int=photo))


def _owner(service: Service, image_id: UUID) -> Person:
    names = service.gallery.owner_names([image_id.int]) if image_id.int < 2**53 else {}
    if image_id.int not in names:
        raise RequestRefused(404, f"there is no image {image_id}")
    return service.gallery.person(names[image_id.int])


def _called(service: Service, name: str) -> Person | None:
    try:
        return service.gallery.person(name)
    except PersonNotFound:
        return None
