"""Names that stay: the decision of a source's live sightings, with confirmation and hysteresis.

A name is given when ``confirm`` searches in a row agreed on it. It is withdrawn when the search
of that sighting finds nobody although having the name counts ``release``, and when another
sighting was given it. Between the two lies a gap, so that a similarity that trembles about the
threshold changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..core.types import Identity
from ..tracking.track import Sighting
from .decision import Holders, Thresholds
from .search import Look, Matcher

# Who was not seen for so long does not defend a name: they may be the one who has it again.
PRESENT_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class NamingRules:
    """How names are given.

    Attributes:
        thresholds: see the class; None: the matcher's own.
        confirm: searches that must agree; a photo needs one.
        release: what having a name counts, in similarity.
    """

    thresholds: Thresholds | None = None
    confirm: int = 2
    release: float = 0.08


def name(
    live: Sequence[Sighting],
    searched: Collection[Sighting],
    *,
    matcher: Matcher,
    rules: NamingRules,
    pts: float,
) -> list[Sighting]:
    """Decide who the live sightings of a source are, each person at most once.

    Args:
        live: all of the source that were searched at least once and not ended.
        searched: those searched since the last call.
        matcher: decides.
        rules: see the class.
        pts: presentation time in seconds.

    Returns:
        The sightings whose name was given to another while they were not to be seen: they ended.
    """
    here = [s for s in live if s.matches is not None and pts - s.end_pts <= PRESENT_SECONDS]
    verdicts = matcher.decide(
        [Look(s.matches, s.clearest, s.largest) for s in here if s.matches is not None],
        thresholds=rules.thresholds,
        holders=Holders([s.person for s in here], rules.release),
    )
    threshold = matcher.threshold(rules.thresholds)
    granted: dict[int, Sighting] = {}
    for sighting, verdict in zip(here, verdicts, strict=True):
        if sighting in searched:
            _count(sighting, verdict)
        if _granted(sighting, verdict, rules):
            sighting.give(verdict, threshold=threshold)
            granted[verdict.person_id or 0] = sighting
        elif sighting.person is None or _lost(verdict, seen=sighting in searched):
            sighting.give(_without(verdict), threshold=threshold)
    return _settled(live, granted, threshold=threshold)


def _count(sighting: Sighting, verdict: Identity) -> None:
    if verdict.person_id is None:
        sighting.candidate, sighting.agreed = None, 0
    elif verdict.person_id == sighting.candidate:
        sighting.agreed += 1
    else:
        sighting.candidate, sighting.agreed = verdict.person_id, 1


def _granted(sighting: Sighting, verdict: Identity, rules: NamingRules) -> bool:
    if verdict.person_id is None:
        return False
    if verdict.person_id == sighting.person:
        return True
    needed = 1 if sighting.still else rules.confirm
    return sighting.candidate == verdict.person_id and sighting.agreed >= needed


def _lost(verdict: Identity, *, seen: bool) -> bool:
    """True when a name is withdrawn: the sighting itself was searched, and nobody was found."""
    return seen and not verdict.known and verdict.reason != "taken"


def _without(verdict: Identity) -> Identity:
    """What is said while a name is not given (yet)."""
    if not verdict.known:
        return verdict
    return Identity.unknown(
        "pending", similarity=verdict.similarity, probability=verdict.probability
    )


def _settled(
    live: Sequence[Sighting], granted: dict[int, Sighting], *, threshold: float
) -> list[Sighting]:
    """Take the names that were given from those who had them."""
    ended = []
    for sighting in live:
        person = sighting.person
        if person is None or granted.get(person, sighting) is sighting:
            continue
        if sighting.end_pts < granted[person].end_pts:
            ended.append(sighting)
            continue
        before = sighting.identity
        sighting.give(
            Identity.unknown("taken", similarity=before.similarity, probability=before.probability),
            threshold=threshold,
        )
        sighting.candidate, sighting.agreed = None, 0
    return ended
