"""Names that stay: the decision of a source's live tracks, with confirmation and hysteresis.

A name is given when ``confirm`` searches in a row agree on it. It is withdrawn when the search of
that track finds no match even with ``release`` added to the similarity of the name it has, and when
another track gets the name. Between the two lies a gap, so that a similarity around the threshold
changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..core.types import Identity, Reason
from ..tracking.track import Track
from .decision import Holders, Thresholds
from .search import Matcher, MatchQuery

# A track not seen for so long does not defend its name: the same person may have a new track.
PRESENT_SECONDS = 0.8


@dataclass(frozen=True, slots=True)
class HysteresisRules:
    """How names are given.

    Attributes:
        thresholds: see the class; None: the matcher's own.
        confirm: searches that must agree; a photo needs one.
        release: added to the similarity of the name that a track has.
        withhold_flat: a track that is flat gets no name.
    """

    thresholds: Thresholds | None = None
    confirm: int = 2
    release: float = 0.08
    withhold_flat: bool = False


def update_identities(
    live: Sequence[Track],
    searched: Collection[Track],
    *,
    matcher: Matcher,
    rules: HysteresisRules,
    pts: float,
) -> list[Track]:
    """Decide who the live tracks of a source are, each person at most once.

    Args:
        live: all of the source that were searched at least once and not ended.
        searched: those searched since the last call.
        matcher: decides.
        rules: see the class.
        pts: presentation time in seconds.

    Returns:
        The tracks whose name was given to another while they were not seen: they ended.
    """
    here = [s for s in live if s.matches is not None and pts - s.end_pts <= PRESENT_SECONDS]
    threshold = matcher.threshold(rules.thresholds)
    if rules.withhold_flat:
        # A picture of a person takes no name from the person.
        for track in here:
            if track.flat:
                (verdict,) = matcher.decide(_queries([track]), thresholds=rules.thresholds)
                track.set_identity(_without_name(verdict, "flat"), threshold=threshold)
                track.proposal = None
        here = [track for track in here if not track.flat]
    verdicts = matcher.decide(
        _queries(here),
        thresholds=rules.thresholds,
        holders=Holders([s.person for s in here], rules.release),
    )
    granted: dict[int, Track] = {}
    for track, verdict in zip(here, verdicts, strict=True):
        if track in searched:
            _count(track, verdict)
        if _granted(track, verdict, rules):
            track.set_identity(verdict, threshold=threshold)
            granted[verdict.person_id or 0] = track
        elif track.person is None or (
            # The track itself was searched, and there was no match.
            track in searched and not verdict.known and verdict.reason != "taken"
        ):
            track.set_identity(_without_name(verdict, "pending"), threshold=threshold)
    return _take_from_holders(live, granted, threshold=threshold)


def name_at_end(track: Track, live: Sequence[Track], *, confirm: int) -> None:
    """Give a track that ends the name that its searches agree on.

    The interval between frames, and so how many searches are enough, may be known only now.
    """
    proposal = track.proposal
    if track.person is not None or proposal is None or track.agreed < confirm:
        return
    if all(other.person != proposal.person_id for other in live):
        track.identity = proposal


def _count(track: Track, verdict: Identity) -> None:
    track.proposal = verdict if verdict.known else None
    if verdict.person_id is None:
        track.candidate, track.agreed = None, 0
    elif verdict.person_id == track.candidate:
        track.agreed += 1
    else:
        track.candidate, track.agreed = verdict.person_id, 1


def _granted(track: Track, verdict: Identity, rules: HysteresisRules) -> bool:
    if verdict.person_id is None:
        return False
    if verdict.person_id == track.person:
        return True
    needed = 1 if track.still else rules.confirm
    return track.candidate == verdict.person_id and track.agreed >= needed


def _queries(tracks: Sequence[Track]) -> list[MatchQuery]:
    return [MatchQuery(s.matches, s.clearest, s.largest) for s in tracks if s.matches is not None]


def _without_name(verdict: Identity, reason: Reason) -> Identity:
    """The verdict where its name, if it is one, is not given (yet)."""
    if not verdict.known:
        return verdict
    return Identity.unknown(reason, similarity=verdict.similarity, probability=verdict.probability)


def _take_from_holders(
    live: Sequence[Track], granted: dict[int, Track], *, threshold: float
) -> list[Track]:
    """Take the names that were given from those who had them."""
    ended = []
    for track in live:
        person = track.person
        if person is None or granted.get(person, track) is track:
            continue
        if track.end_pts < granted[person].end_pts:
            ended.append(track)
            continue
        before = track.identity
        track.set_identity(
            Identity.unknown("taken", similarity=before.similarity, probability=before.probability),
            threshold=threshold,
        )
        track.candidate, track.agreed = None, 0
    return ended
