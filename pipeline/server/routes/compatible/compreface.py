"""The API of CompreFace: recognition, detection and verification of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Depends, Query, Request

from ....access.roles import Role
from ....analysis import Analysis, AnalyzedFace
from ....core.errors import ImageError
from ...dependencies import Examined, TheActor, TheService, looked_up, needs
from ...problems import RequestRefused
from ...service import Service
from ...uploads import uploaded
from ..pictures import analyzed
from .dialect import Dialect, Problem, status_of

NO_FACE: Final = "No face is found in the given image"
UNNAMED_AT_MOST: Final = 0.49
"""Similarity of a person whose name facestream does not give: below what any client asks for."""
_CODES: Final = {"no_face": 28, "several_faces": 31, "unreadable": 21}
_STATUS_CODES: Final = {401: 20, 403: 32, 404: 11, 422: 26}


def _error(problem: Problem) -> tuple[int, dict[str, Any]]:
    status, reason = problem["status"], problem.get("reason")
    code = _CODES.get(reason or "", _STATUS_CODES.get(status, 0))
    message = NO_FACE if reason == "no_face" else problem["detail"]
    return status_of(problem), {"message": message, "code": code}


DIALECT: Final = Dialect(
    ("/api/v1/recognition/", "/api/v1/detection/", "/api/v1/verification/"), _error
)


def router(role: Role, *more: Any) -> APIRouter:
    """A router of this API for a role."""
    dependencies = [Depends(needs(role)), *more]
    return APIRouter(
        prefix="/api/v1", tags=["compreface"], dependencies=dependencies, include_in_schema=False
    )


viewing = router("viewer", Depends(looked_up))
routers = (viewing,)


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks for.

    Attributes:
        limit: most faces, the largest first; 0: all.
        least: the detector's probability that a face must have.
        plugins: what more is told of a face; of theirs there are ``landmarks`` and ``calculator``.
        status: tell what examined the picture.
    """

    limit: int
    least: float
    plugins: frozenset[str]
    status: bool


def _options(
    actor: TheActor,
    limit: Annotated[int, Query(ge=0, le=10_000)] = 0,
    det_prob_threshold: Annotated[float, Query(ge=0, le=1)] = 0.0,
    face_plugins: Annotated[str, Query(max_length=200)] = "",
    status: bool = False,
) -> Options:
    plugins = frozenset(part.strip() for part in face_plugins.split(","))
    if "calculator" in plugins and not actor.may("operator"):
        raise RequestRefused(403, "face_plugins: embeddings (calculator) need the role operator")
    return Options(limit, det_prob_threshold, plugins, status)


TheOptions = Annotated[Options, Depends(_options)]


@viewing.post("/recognition/recognize", dependencies=[Examined])
async def recognize(
    service: TheService,
    request: Request,
    options: TheOptions,
    prediction_count: Annotated[int, Query(ge=0, le=100)] = 1,
) -> dict[str, Any]:
    """Who is in a picture, with the most similar people of each face."""
    async with uploaded(request, "file") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    faces = chosen(found, options)
    people = await service.work.run(lambda: _people(service, faces, prediction_count or 1))
    result = [
        {**described(face, options), "subjects": subjects}
        for face, subjects in zip(faces, people, strict=True)
    ]
    return {"result": result, **versions(service, options)}


@viewing.post("/detection/detect", dependencies=[Examined])
async def detect(service: TheService, request: Request, options: TheOptions) -> dict[str, Any]:
    """Where faces are."""
    async with uploaded(request, "file") as (picture,):
        found = await service.work.run(lambda: analyzed(service, picture))
    result = [described(face, options) for face in chosen(found, options)]
    return {"result": result, **versions(service, options)}


@viewing.post("/verification/verify", dependencies=[Examined])
async def verify(service: TheService, request: Request, options: TheOptions) -> dict[str, Any]:
    """How similar the faces of ``target_image`` are to the largest one of ``source_image``."""
    async with uploaded(request, "source_image", "target_image") as pictures:
        source, target = await service.work.run(
            lambda: [analyzed(service, picture) for picture in pictures]
        )
    [first] = chosen(source, Options(1, options.least, options.plugins, False))
    matches = [
        {**described(face, options), "similarity": similarity(service, first, face)}
        for face in chosen(target, options)
    ]
    one = {"source_image_face": described(first, options), "face_matches": matches}
    return {"result": [{**one, **versions(service, options)}]}


def chosen(found: Analysis, options: Options) -> list[AnalyzedFace]:
    """The faces that are asked for, the largest first.

    Raises:
        ImageError: there is none, which their server calls an error.
    """
    faces = [face for face in found if face.score >= options.least]
    if not faces:
        raise ImageError(NO_FACE, reason="no_face")
    faces.sort(key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
    return faces[: options.limit or None]


def described(face: AnalyzedFace, options: Options) -> dict[str, Any]:
    """A face without its name."""
    x1, y1, x2, y2 = (max(round(float(value)), 0) for value in face.box)
    box = {"probability": round(face.score, 5), "x_max": x2, "y_max": y2, "x_min": x1, "y_min": y1}
    told: dict[str, Any] = {"box": box}
    if "landmarks" in options.plugins:
        told["landmarks"] = [[round(float(x)), round(float(y))] for x, y in face.landmarks]
    if "calculator" in options.plugins:
        told["embedding"] = [round(float(value), 6) for value in face.embedding]
    return told


def similarity(service: Service, one: AnalyzedFace, other: AnalyzedFace) -> float:
    """The calibrated probability, 0 to 1, that two faces are one person's."""
    alike, rules = service.analyzer.similarity(one, other)
    return round(rules.probability(alike), 5)


def versions(service: Service, options: Options) -> dict[str, Any]:
    """What examined the picture, where that is asked for."""
    if not options.status:
        return {}
    detector = type(service.analyzer.detector).__name__
    return {"plugins_versions": {"detector": detector, "calculator": service.analyzer.model_id}}


def _people(service: Service, faces: list[AnalyzedFace], count: int) -> list[list[dict[str, Any]]]:
    matcher = service.analyzer.matcher
    found = matcher.search(np.stack([face.embedding for face in faces]))
    told = []
    for face, row in zip(faces, found, strict=True):
        identity = face.identity
        known = [] if identity.name is None else [(identity.name, identity.probability)]
        others = [
            (str(name), min(matcher.probability(float(similar)), UNNAMED_AT_MOST))
            for person, name, similar in zip(
                row.person_ids[0], row.names[0], row.similarities[0], strict=True
            )
            if person >= 0 and person != identity.person_id
        ]
        told.append(
            [{"subject": who, "similarity": round(p, 5)} for who, p in [*known, *others][:count]]
        )
    return told
