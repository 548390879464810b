"""From fused embeddings to names: search and the open-set decision."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from facestream.engines.cards import ModelCard

from ..core.config import RecognitionSettings
from ..core.types import Floats, Identity, Matches, Verdict
from ..recognition.cohort import Cohort, load_cohort
from .calibrated import CalibratedRules, own_cohort
from .decision import Holders, Thresholds, decide_frame, verdict_of

log = logging.getLogger(__name__)

# People compared for one face: the best, the runner-up that may make it ambiguous, and a few
# more for frames in which several faces compete for the same names.
NEIGHBOURS = 5


class Searcher(Protocol):
    """Finds the nearest people; ``gallery.gallery.GallerySearch`` is one."""

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        """The ``k`` nearest people of each embedding M×D, of those who hold at these times: M
        seconds since the epoch, NaN where that is not known; None: now."""
        ...

    def templates(self) -> int:
        """How many photos a face is compared with."""
        ...

    def refresh(self) -> bool:
        """Read the changes of other processes; True when there were any."""
        ...


class SearchableGallery(Protocol):
    """Known people that can be searched; ``Gallery`` is one."""

    def require_model(self, model_id: str) -> None:
        """Raise ModelMismatch unless this model's embeddings can be searched here."""
        ...

    def searcher(self, model_id: str, cohort: Cohort | None) -> Searcher:
        """A search with this model's embeddings; the cohort normalises the similarities."""
        ...

    def calibrated(self) -> CalibratedRules | None:
        """The calibration that is stored with these people; None: there is none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MatchQuery:
    """What is decided on: a track's matches and how far they can be trusted.

    Attributes:
        matches: one row.
        sigma: uncertainty of the track's clearest query.
        size: shorter side of the face's box in pixels, the largest so far.
    """

    matches: Matches
    sigma: float
    size: float


class Matcher:
    """Search and decision over a gallery, or over none.

    The thresholds are those for a gallery of the size that it has now (``Thresholds.among``).
    """

    def __init__(self, searcher: Searcher | None, thresholds: Thresholds) -> None:
        self._searcher = searcher
        self._thresholds = thresholds

    def search(self, mu: Floats, at: Sequence[float] | None = None) -> list[Matches]:
        """The nearest people of each embedding M×D, one row each; ``at`` as in `Searcher`."""
        if self._searcher is None:
            none = Matches(np.zeros((1, 0), np.float32), np.zeros((1, 0), np.int64), ((),))
            return [none] * len(mu)
        found = self._searcher.search(mu, NEIGHBOURS, at)
        return [
            Matches(
                found.similarities[row : row + 1],
                found.person_ids[row : row + 1],
                found.names[row : row + 1],
            )
            for row in range(len(mu))
        ]

    def templates(self) -> int:
        """How many photos a face is compared with now."""
        return 0 if self._searcher is None else self._searcher.templates()

    @property
    def thresholds(self) -> Thresholds:
        """The matcher's own, for a gallery of any size."""
        return self._thresholds

    def threshold(self, thresholds: Thresholds | None = None) -> float:
        """The similarity that gives a name now, of these thresholds or the matcher's own."""
        return self._in_force(thresholds).similarity

    def verdict(self, identity: Identity, sigma: float) -> Verdict:
        """Of a face that was decided, with this uncertainty, see `decision.verdict_of`."""
        return verdict_of(identity, sigma, self._thresholds.stranger, self.templates())

    def probability(self, similarity: float) -> float:
        """Calibrated, 0..1, that a face this similar to a person is that person."""
        return self._in_force(None).probability(similarity)

    def _in_force(self, thresholds: Thresholds | None) -> Thresholds:
        chosen = self._thresholds if thresholds is None else thresholds
        return chosen if self._searcher is None else chosen.among(self._searcher.templates())

    def refresh(self) -> bool:
        """Read other processes' changes to the gallery; True when there were any."""
        return self._searcher is not None and self._searcher.refresh()

    def decide(
        self,
        queries: Sequence[MatchQuery],
        *,
        thresholds: Thresholds | None = None,
        holders: Holders | None = None,
    ) -> list[Identity]:
        """Who the faces of one frame are: each person at most once.

        Args:
            queries: one per face.
            thresholds: instead of the matcher's own.
            holders: the faces that have a name already.
        """
        if not queries:
            return []
        width = max(query.matches.person_ids.shape[1] for query in queries)
        rows = [_widened(query.matches, width) for query in queries]
        return decide_frame(
            Matches(
                np.concatenate([row.similarities for row in rows]),
                np.concatenate([row.person_ids for row in rows]),
                tuple(row.names[0] for row in rows),
            ),
            self._in_force(thresholds),
            sigmas=[query.sigma for query in queries],
            sizes=[query.size for query in queries],
            holders=holders,
        )


def _widened(row: Matches, width: int) -> Matches:
    """A row padded to ``width``: the gallery may have grown between two searches."""
    missing = width - row.person_ids.shape[1]
    if not missing:
        return row
    return Matches(
        np.pad(row.similarities, ((0, 0), (0, missing)), constant_values=-np.inf),
        np.pad(row.person_ids, ((0, 0), (0, missing)), constant_values=-1),
        (row.names[0] + (None,) * missing,),
    )


def open_matcher(
    gallery: SearchableGallery | None, card: ModelCard, recognition: RecognitionSettings
) -> Matcher:
    """The matcher of the settings.

    Args:
        gallery: the known people; None: no one is recognised.
        card: the encoder's.
        recognition: see the class.

    Raises:
        ModelError: the cohort is missing, damaged or another encoder's.
        ConfigError: there is no threshold.
    """
    calibrated = None if gallery is None else gallery.calibrated()
    thresholds, cohort = open_rules(card, recognition, calibrated)
    searcher = None if gallery is None else gallery.searcher(card.id, cohort)
    return Matcher(searcher, thresholds)


def open_rules(
    card: ModelCard, recognition: RecognitionSettings, calibrated: CalibratedRules | None
) -> tuple[Thresholds, Cohort | None]:
    """The thresholds and the cohort of the settings.

    Args:
        card: the encoder's.
        recognition: see the class; a threshold that is set wins over a calibration.
        calibrated: of the database, instead of the cards' thresholds; None: there is none, or no
            database. One for another encoder or another normalisation is left out, which a warning
            says. It has no default: what forgets it decides otherwise than the rest.

    Raises:
        ModelError, ConfigError: as `open_matcher`.
    """
    cohort = load_cohort(card.id) if recognition.normalise == "cohort" else None
    max_sigma = recognition.max_sigma
    if max_sigma is None and cohort is not None and "max_sigma" in cohort.card.metrics:
        max_sigma = float(cohort.card.metrics["max_sigma"])
    kept = None if cohort is None else cohort.card.thresholds
    ceilings: Mapping[int, float] = {}
    if calibrated is not None:
        problem = calibrated.problem(card.id, recognition.normalise)
        if problem is None:
            kept = calibrated.stored.thresholds
            ceilings = calibrated.stored.ceilings if recognition.threshold is None else {}
            if cohort is not None and calibrated.strangers is not None:
                cohort = own_cohort(calibrated.strangers, cohort)
        else:
            _warn_unused(problem)
    thresholds = Thresholds.from_card(
        card,
        calibrated=kept,
        similarity=recognition.threshold,
        margin=recognition.margin,
        max_sigma=max_sigma,
        min_size=recognition.min_face_to_name,
        false_alarms=recognition.false_alarms,
    )
    return replace(thresholds, ceilings=ceilings), cohort


@functools.cache
def _warn_unused(problem: str) -> None:
    """Warn once, not for each camera."""
    log.warning(
        "the calibration of the database is not used: %s; 'facestream calibrate --apply' makes a "
        "new one",
        problem,
    )
