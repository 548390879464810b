"""Faces of pictures that are sent: detect, embed, compare, recognise. Nothing of them is kept."""

from __future__ import annotations

from fastapi import Request
from pydantic import Field

from ...analysis import Analysis
from ...core.errors import ImageError
from ...core.images import DecodedPhoto, decode_photo
from ..dependencies import Examined, TheService, looks
from ..models import Answer, FoundFace, RecognisedFace, found_face, recognised
from ..service import Service
from ..uploads import UploadedPicture, form_with, uploaded

viewing = looks("viewer", "pictures")
embedding = looks("operator", "pictures")
routers = (viewing, embedding)


class DetectedOut(Answer):
    """The faces of a picture, the surest first."""

    faces: list[FoundFace]
    turned: int = 0
    """Degrees by which the picture was turned until a face was found."""


class RecognisedOut(Answer):
    """The faces of a picture and who they are, the surest first."""

    faces: list[RecognisedFace]


class EmbeddedFace(FoundFace):
    """A face and its embedding."""

    embedding: list[float]
    """Of length 1; the similarity of two is their dot product."""
    uncertainty: float


class EmbeddedOut(Answer):
    """The faces of a picture with their embeddings."""

    faces: list[EmbeddedFace]
    model: str
    """Embeddings of different models cannot be compared."""


class ComparedOut(Answer):
    """Whether the largest faces of two pictures are one person's."""

    similarity: float = Field(examples=[0.68])
    """−1 to 1, as in events."""
    probability: float = Field(examples=[0.997])
    """Calibrated, 0 to 1, that both are one person's."""
    same: bool
    """The similarity reaches the threshold, and both faces are clear enough."""
    threshold: float
    faces: tuple[FoundFace, FoundFace]
    uncertainties: tuple[float, float]


@viewing.post("/detect", dependencies=[Examined], openapi_extra=form_with("image"))
async def detect(service: TheService, request: Request) -> DetectedOut:
    """Where the faces of a picture are."""
    async with uploaded(request, "image") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    faces = [found_face(one.box, one.landmarks, one.score) for one in found]
    return DetectedOut(faces=faces, turned=found.turned)


@viewing.post("/recognise", dependencies=[Examined], openapi_extra=form_with("image"))
async def recognise(service: TheService, request: Request) -> RecognisedOut:
    """Who is in a picture: all faces, also those of nobody known."""
    async with uploaded(request, "image") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    return RecognisedOut(faces=[recognised(one, service.analyzer) for one in found])


@embedding.post("/embed", dependencies=[Examined], openapi_extra=form_with("image"))
async def embed(service: TheService, request: Request) -> EmbeddedOut:
    """The embeddings of the faces of a picture, which are biometric data."""
    async with uploaded(request, "image") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    faces = [
        EmbeddedFace(
            **found_face(one.box, one.landmarks, one.score).model_dump(),
            embedding=[round(float(value), 6) for value in one.embedding],
            uncertainty=round(one.sigma, 4),
        )
        for one in found
    ]
    return EmbeddedOut(faces=faces, model=service.analyzer.model_id)


@viewing.post("/compare", dependencies=[Examined], openapi_extra=form_with("image", "other"))
async def compare(service: TheService, request: Request) -> ComparedOut:
    """Whether the largest faces of two pictures are one person's."""
    async with uploaded(request, "image", "other") as pictures:
        return await service.work.run(lambda: _compared(service, pictures))


def analyzed(service: Service, picture: UploadedPicture) -> Analysis:
    """The faces of a picture and who they are in the gallery as it is now."""
    service.refresh()
    found = service.analyzer.analyze(decoded(picture))
    service.metrics.faces.inc(len(found))
    return found


def decoded(picture: UploadedPicture) -> DecodedPhoto:
    """The pixels of a picture; ImageError where it cannot be read."""
    return decode_photo(picture.content, name="the picture")


def _compared(service: Service, pictures: list[UploadedPicture]) -> ComparedOut:
    analyzer = service.analyzer
    found = analyzer.analyze_batch([decoded(one) for one in pictures], keep="largest")
    for number, one in enumerate(found, 1):
        if not len(one):
            raise ImageError(f"picture {number} shows no face", reason="no_face")
    first, second = (next(iter(one)) for one in found)
    similarity, rules = analyzer.similarity(first, second)
    clear = max(first.sigma, second.sigma) <= rules.max_sigma
    return ComparedOut(
        similarity=round(similarity, 4),
        probability=round(rules.probability(similarity), 4),
        same=bool(clear and similarity >= rules.similarity),
        threshold=round(rules.similarity, 4),
        faces=(
            found_face(first.box, first.landmarks, first.score),
            found_face(second.box, second.landmarks, second.score),
        ),
        uncertainties=(round(first.sigma, 4), round(second.sigma, 4)),
    )
