"""People without a name: clusters of sightings that show one person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from pydantic import Field

from ...access.roles import Requester
from ...core.errors import UsageError
from ...sightings.cluster_records import ClusterState, UnknownCluster
from ...sightings.unknowns import Unknowns
from ..dependencies import TheActor, TheService, WholeHouse, changes, changing, looks
from ..models import Answer, Id
from ..problems import RequestRefused
from ..service import Service
from .people import NameIn
from .sightings import SightingOut

reading = looks("viewer", "unknown", WholeHouse)
writing = changes("operator", "unknown", WholeHouse)
routers = (reading, writing)

ClusterId = Annotated[int, Path(ge=1, le=2**53)]
SightingId = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z_-]+$")]
MOST_SHOWN = 1000


class UnknownOut(Answer):
    """Sightings without a name that show one person."""

    id: int = Field(examples=[12])
    """Stays the same while sightings are added."""
    state: ClusterState
    """``ignored``: what resembles it is ignored, too."""
    size: int
    """How many sightings."""
    visits: int
    """Sightings without a pause of 30 minutes between them are one visit."""
    days: int
    """On how many days, in UTC."""
    cameras: list[str]
    first_seen: datetime
    last_seen: datetime
    best: SightingOut
    """The sighting with the clearest picture."""
    uncertainty: float | None
    """Sigma of its surest embedding."""
    probability: float | None
    """That all its sightings show one person; null of a single one."""

    @classmethod
    def of(cls, one: UnknownCluster) -> UnknownOut:
        return cls(**_values(one))


class UnknownDetailOut(UnknownOut):
    """The same, with its sightings."""

    sightings: list[str]
    """Ids, the oldest first; the newest thousand."""

    @classmethod
    def of(cls, one: UnknownCluster) -> UnknownDetailOut:
        return cls(**_values(one), sightings=list(one.sightings[-MOST_SHOWN:]))


class UnknownsOut(Answer):
    """The clusters with most sightings first."""

    clusters: list[UnknownOut]
    updating: bool
    """True while new sightings are still put into clusters."""


class NamedOut(Answer):
    """What giving a name did."""

    person_id: int
    name: str
    new: bool
    """The person was made."""
    sightings: int
    """How many got the name by hand."""
    resembling: int
    """How many more got it because they resemble the person."""
    photos: int
    """How many pictures are photos of the gallery now."""


class OthersIn(Answer):
    """Clusters that are the same person."""

    others: list[Id] = Field(min_length=1, max_length=1000, examples=[[17, 21]])


class SplitIn(Answer):
    """Sightings that are somebody else's."""

    sightings: list[SightingId] = Field(default=[], max_length=1000)
    """Without any, the cluster is cut in two by its own structure."""


class IgnoreIn(Answer):
    """Whether a cluster is left out of lists and alarms."""

    ignored: bool = True


@reading.get("/unknown")
def list_unknown(
    service: TheService,
    state: Literal["open", "ignored"] = "open",
    least: Annotated[int, Query(ge=1, le=10**6, description="Sightings that one has.")] = 1,
    visits: Annotated[int, Query(ge=1, le=10**6, description="Visits that one has.")] = 1,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UnknownsOut:
    """People without a name, those who were seen most often first."""
    whole = service.unknown_updates.bring_up_to_date()
    found = _unknowns(service).list(state=state, least=max(least, visits), limit=limit)
    shown = [UnknownOut.of(one) for one in found if one.visits >= visits]
    return UnknownsOut(clusters=shown, updating=not whole)


@reading.get("/unknown/{cluster_id}")
def get_unknown(cluster_id: ClusterId, service: TheService) -> UnknownDetailOut:
    """One of them with the ids of the sightings."""
    with _or_404():
        return UnknownDetailOut.of(_unknowns(service).get(cluster_id))


@writing.post("/unknown/{cluster_id}/name")
def name(
    cluster_id: ClusterId, body: NameIn, service: TheService, actor: TheActor, request: Request
) -> NamedOut:
    """Give the person a name, who is made or is one of the gallery; the past gets it, too."""
    unknowns = _known(service, actor, cluster_id)
    with changing(request, f"cluster {cluster_id}"):
        return NamedOut.copied(unknowns.name(cluster_id, body.name))


@writing.post("/unknown/{cluster_id}/merge")
def merge(
    cluster_id: ClusterId, body: OthersIn, service: TheService, actor: TheActor, request: Request
) -> UnknownOut:
    """Make clusters one, which keeps this number."""
    unknowns = _known(service, actor, cluster_id)
    with changing(request, f"cluster {cluster_id} takes in {', '.join(map(str, body.others))}"):
        return UnknownOut.of(unknowns.merge(cluster_id, *body.others))


@writing.post("/unknown/{cluster_id}/split")
def split(
    cluster_id: ClusterId, body: SplitIn, service: TheService, actor: TheActor, request: Request
) -> UnknownOut:
    """Take sightings out, into a new cluster, which is the answer."""
    unknowns = _known(service, actor, cluster_id)
    with changing(request, f"cluster {cluster_id}"):
        return UnknownOut.of(unknowns.split(cluster_id, body.sightings))


@writing.post("/unknown/{cluster_id}/ignore")
def ignore(
    cluster_id: ClusterId, body: IgnoreIn, service: TheService, actor: TheActor, request: Request
) -> UnknownOut:
    """Leave it out of lists and alarms with all that resembles it, or list it again."""
    unknowns = _known(service, actor, cluster_id)
    with changing(request, f"cluster {cluster_id}"):
        return UnknownOut.of(unknowns.ignore(cluster_id, ignored=body.ignored))


def _unknowns(service: Service, who: str | None = None) -> Unknowns:
    return Unknowns(service.sightings, service.settings, who=who)


def _known(service: Service, actor: Requester, cluster: int) -> Unknowns:
    """The clusters, of which one has this number; else 404."""
    unknowns = _unknowns(service, actor.name)
    with _or_404():
        unknowns.get(cluster)
    return unknowns


@contextmanager
def _or_404() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        if error.__cause__ is not None:
            raise
        detail = "there is no such cluster, it is part of another, or it has a name by now"
        raise RequestRefused(404, detail) from error


def _values(one: UnknownCluster) -> dict[str, Any]:
    sure = one.uncertainty != float("inf")
    return {
        "id": one.id,
        "state": one.state,
        "size": one.size,
        "visits": one.visits,
        "days": one.days,
        "cameras": list(one.cameras),
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
        "best": SightingOut.of(one.best),
        "uncertainty": round(one.uncertainty, 4) if sure else None,
        "probability": None if one.probability is None else round(one.probability, 4),
    }
