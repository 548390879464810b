"""From similarities to a name, or to the reason why there is none: open set, never forced.

A face is named only when the best person is similar enough, clearly more similar than the next
one, and no other face in the frame has a better claim to that name. All functions are pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..core.assignment import assign
from ..core.errors import ConfigError
from ..core.types import Floats, Identity, Matches, PersonMatch, Reason, Verdict

if TYPE_CHECKING:
    from facestream.engines.cards import CalibratedThresholds as Calibrated
    from facestream.engines.cards import FalseMatches, ModelCard, StrangerLimits

# The encoder's noise hides the difference between two people this close in cosine.
MARGIN = 0.05
# A face narrower than this (pixels of the shorter side) holds too little identity.
MIN_FACE = 24.0
# Steepness of the probability where the card has no calibration.
SLOPE = 20.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a face gets a name.

    Attributes:
        similarity: least cosine to a template, −1..1; see ``among``.
        margin: least lead over the next person, in cosine.
        max_sigma: most uncertainty (``recognition.uncertainty.sigma``) a face may have.
        min_size: least length of a box's shorter side, in pixels.
        slope: of the calibration: probability = 1 / (1 + exp(−(slope · similarity + intercept))).
        intercept: of the calibration.
        false_alarms: the share, 0..1, of strangers who may get a name at one search.
        false_matches: from false-match rates to similarities; without it, or without
            ``false_alarms``, the threshold is the same for every gallery.
        stranger: from where a face is surely none of the gallery; None: never.
        ceilings: person id to the least similarity that gives this person's name, where that is
            above ``similarity``.
    """

    similarity: float
    margin: float = MARGIN
    max_sigma: float = float("inf")
    min_size: float = MIN_FACE
    slope: float = SLOPE
    intercept: float | None = None
    false_alarms: float | None = None
    false_matches: FalseMatches | None = None
    stranger: StrangerLimits | None = None
    ceilings: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks = (
            (-1 <= self.similarity <= 1, "a similarity threshold is -1 to 1", self.similarity),
            (0 <= self.margin <= 2, "a margin is 0 to 2", self.margin),
            (self.max_sigma > 0, "the limit of sigma must be above 0", self.max_sigma),
            (self.min_size >= 0, "a least size is 0 pixels or more", self.min_size),
            (self.slope > 0, "the calibration's slope must be above 0", self.slope),
        )
        for valid, rule, value in checks:
            if not valid:
                raise ConfigError(f"{rule}, not {value:g}")
        if self.false_alarms is not None and not 0 < self.false_alarms < 1:
            raise ConfigError(
                f"a rate of false alarms lies between 0 and 1, not {self.false_alarms:g}"
            )

    @classmethod
    def from_card(
        cls,
        card: ModelCard,
        *,
        calibrated: Calibrated | None = None,
        similarity: float | None = None,
        margin: float = MARGIN,
        max_sigma: float | None = None,
        min_size: float = MIN_FACE,
        false_alarms: float | None = None,
    ) -> Self:
        """The thresholds an encoder was calibrated to.

        Args:
            card: the encoder's card; its ``metrics`` may hold ``max_sigma``.
            calibrated: of a cohort's card, where similarities are normalised; else the card's.
            similarity: instead of the card's, for galleries of every size; ``false_alarms`` then
                has no effect.
            margin: see the class, as for the others.
            max_sigma: instead of the card's.

        Raises:
            ConfigError: the card has no thresholds and ``similarity`` is not given.
        """
        kept = card.thresholds if calibrated is None else calibrated
        table = None
        if similarity is None:
            if kept is None:
                raise ConfigError(
                    f"the card of model '{card.name}' has no thresholds; give a similarity, or "
                    "calibrate with 'facestream-train evaluate'"
                )
            similarity, table = kept.similarity, kept.false_matches
        if max_sigma is None:
            max_sigma = float(card.metrics.get("max_sigma", "inf"))
        calibration = None if kept is None else kept.probability
        return cls(
            similarity=similarity,
            margin=margin,
            max_sigma=max_sigma,
            min_size=min_size,
            slope=SLOPE if calibration is None else calibration.slope,
            intercept=None if calibration is None else calibration.intercept,
            false_alarms=false_alarms,
            false_matches=table,
            stranger=None if kept is None else kept.stranger,
        )

    def among(self, templates: int) -> Self:
        """The thresholds of a search among this many photos.

        A stranger is compared with each photo, and one false match is enough: with FMR the rate
        of one comparison, the rate of a search is 1 − (1 − FMR)^photos. The similarity is raised
        to where that equals ``false_alarms``; it is never lowered.
        """
        if self.false_alarms is None or self.false_matches is None or templates < 1:
            return self
        rate = -np.expm1(np.log1p(-self.false_alarms) / templates)
        return replace(
            self, similarity=max(self.similarity, self.false_matches.similarity(float(rate)))
        )

    def needed(self, person: int) -> float:
        """The least similarity that gives this person's name."""
        return max(self.similarity, self.ceilings.get(person, -1.0))

    def probability(self, similarity: float) -> float:
        """Calibrated probability, 0..1, that two faces this similar are one person's.

        Without a calibrated intercept it is one half at the threshold.
        """
        intercept = -self.slope * self.similarity if self.intercept is None else self.intercept
        # tanh does not overflow where exp does.
        return float(0.5 * (1.0 + np.tanh(0.5 * (self.slope * similarity + intercept))))


def verdict_of(
    identity: Identity, sigma: float, limits: StrangerLimits | None, photos: int
) -> Verdict:
    """Whether a face is known, surely a stranger's, or neither.

    Args:
        identity: what was decided.
        sigma: uncertainty of its surest embedding; NaN or infinity without one.
        limits: of the thresholds that decided.
        photos: how many photos the face was compared with.
    """
    if identity.known:
        return "known"
    clear = limits is not None and sigma <= limits.sigma
    if identity.reason == "no_gallery":
        return "stranger" if clear else "unsure"
    alike = limits is None or identity.similarity > limits.limit(sigma, photos)
    compared = identity.reason == "below_threshold"
    return "stranger" if clear and compared and not alike else "unsure"


class Holders(NamedTuple):
    """The faces of a frame that have a name already.

    Attributes:
        people: the person of each of M faces, None for those without.
        release: what having the name counts, in similarity.
    """

    people: Sequence[int | None]
    release: float


def decide_frame(
    matches: Matches,
    thresholds: Thresholds,
    *,
    sigmas: Sequence[float] | Floats | None = None,
    sizes: Sequence[float] | Floats | None = None,
    holders: Holders | None = None,
) -> list[Identity]:
    """Who the M faces of one frame are, each person at most once.

    A face can only be someone it is similar enough to, and who is within the margin of its best
    match: the assignment decides what is close, it never overrides a clear preference. People are
    given to faces so that the sum of the similarities above the threshold is greatest. Then, for
    each face with someone:

    - ``ambiguous`` when another person is within the margin, unless that person is in the frame
      and more similar to that other face by the margin;
    - ``taken`` when a face that stays without a name is more similar to the person; also when
      all the people it could be went to other faces.

    A face that has a name already keeps it more easily than another gets it: its similarity to
    that person counts as higher by ``holders.release``, and no less similar person makes it
    ambiguous.

    Args:
        matches: M rows; a person may be at most once in a row.
        thresholds: see ``Thresholds``.
        sigmas: M uncertainties, or None to skip that test.
        sizes: M lengths of the boxes' shorter sides in pixels, or None to skip that test.
        holders: the faces that have a name already.

    Returns:
        M identities; an unknown one has the similarity to its best match, an ambiguous one the
        people it may be.
    """
    count = len(matches.person_ids)
    reasons = [
        _gate(
            matches.person_ids[i],
            thresholds,
            None if sigmas is None else float(sigmas[i]),
            None if sizes is None else float(sizes[i]),
        )
        for i in range(count)
    ]
    held = [None] * count if holders is None else holders.people
    release = 0.0 if holders is None else holders.release
    claims = [
        _claims(matches, i, thresholds, held[i], release) if reasons[i] is None else {}
        for i in range(count)
    ]
    given = _assign(claims, thresholds)
    given, lost = _withdraw_unclear(given, claims, held, thresholds.margin)
    identities = []
    for i in range(count):
        reason = reasons[i]
        if reason is None and i not in given:
            reason = lost.get(i, "taken") if claims[i] else "below_threshold"
        rivals = claims[i].keys() if reason == "ambiguous" else ()
        identities.append(_identity(matches, i, given.get(i), reason, thresholds, rivals))
    return identities


def _gate(
    ids: NDArray[np.int64], thresholds: Thresholds, sigma: float | None, size: float | None
) -> Reason | None:
    """Why a face is not compared at all. A NaN fails its test."""
    if not (ids >= 0).any():
        return "no_gallery"
    if size is not None and not size >= thresholds.min_size:
        return "too_small"
    if sigma is not None and not sigma <= thresholds.max_sigma:
        return "uncertain"
    return None


def _claims(
    matches: Matches, row: int, thresholds: Thresholds, held: int | None, release: float
) -> dict[int, float]:
    """The people within the margin of a face's best match, if that is similar enough."""
    found = {
        int(person): float(similarity)
        for person, similarity in zip(
            matches.person_ids[row], matches.similarities[row], strict=True
        )
        if person >= 0 and np.isfinite(similarity)
    }
    if not found:
        return {}
    if held in found:
        found[held] += release
    best = max(found, key=lambda person: found[person])
    if found[best] < thresholds.needed(best):
        return {}
    return {
        person: similarity
        for person, similarity in found.items()
        if person == best or found[best] - similarity < thresholds.margin
    }


def _assign(claims: list[dict[int, float]], thresholds: Thresholds) -> dict[int, int]:
    """Face -> person, each person once, with the greatest sum of similarities above threshold."""
    people = sorted({person for claim in claims for person in claim})
    faces = [i for i, claim in enumerate(claims) if claim]
    if not people:
        return {}
    gains = np.zeros((len(faces), len(people)))
    for row, face in enumerate(faces):
        for person, similarity in claims[face].items():
            if similarity >= thresholds.needed(person):
                # Above zero also at the threshold itself: a person is better than none.
                gains[row, people.index(person)] = similarity - thresholds.similarity + 1e-6
    return {faces[row]: people[column] for row, column in assign(gains)}


def _withdraw_unclear(
    given: dict[int, int], claims: list[dict[int, float]], held: Sequence[int | None], margin: float
) -> tuple[dict[int, int], dict[int, Reason]]:
    """Withdraw the names that are not clear, until all that stay are."""
    given = dict(given)
    lost: dict[int, Reason] = {}
    while True:
        # All are judged against the same state, so that the faces' order does not matter.
        unclear = {
            face: reason
            for face in given
            if (reason := _objection(face, given, claims, held, margin)) is not None
        }
        if not unclear:
            return given, lost
        lost.update(unclear)
        for face in unclear:
            del given[face]


def _objection(
    face: int,
    given: dict[int, int],
    claims: list[dict[int, float]],
    held: Sequence[int | None],
    margin: float,
) -> Reason | None:
    holder = {person: other for other, person in given.items()}
    mine = claims[face]
    person = given[face]
    for rival, similarity in mine.items():
        if rival == person or (person == held[face] and similarity <= mine[person]):
            continue
        other = holder.get(rival)
        if other is None or claims[other][rival] < similarity + margin:
            return "ambiguous"
    for other, claim in enumerate(claims):
        if other not in given and claim.get(person, -np.inf) > mine[person]:
            return "taken"
    return None


def _identity(
    matches: Matches,
    row: int,
    person: int | None,
    reason: Reason | None,
    thresholds: Thresholds,
    rivals: Collection[int],
) -> Identity:
    ids, similarities = matches.person_ids[row], matches.similarities[row]
    usable = (ids >= 0) & np.isfinite(similarities)
    if not usable.any():
        return Identity.unknown(reason or "no_gallery")
    if person is None:
        column = int(np.argmax(np.where(usable, similarities, -np.inf)))
    else:
        column = int(np.flatnonzero(ids == person)[0])
    similarity = float(similarities[column])
    probability = thresholds.probability(similarity)
    if person is None:
        candidates = (
            PersonMatch(int(ids[at]), matches.names[row][at] or "", float(similarities[at]))
            for at in np.flatnonzero(np.isin(ids, list(rivals)))
        )
        return Identity.unknown(
            reason or "below_threshold",
            similarity=similarity,
            probability=probability,
            candidates=tuple(sorted(candidates, key=lambda one: -one.similarity)),
        )
    return Identity(person, matches.names[row][column], similarity, probability, None)
