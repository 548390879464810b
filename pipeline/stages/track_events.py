"""What is told of a source's sightings, and when: the events, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.events import (
    Appeared,
    FusedTemplate,
    Identified,
    Left,
    Moment,
    TrackEvent,
    Updated,
)
from ..core.types import Frame
from ..metrics import (
    IDENTITIES,
    SIGMA,
    TIME_TO_NAME,
    Metrics,
)
from ..tracking.track import Sighting

# ``surer`` is told when sigma fell to this part of what was told, this many seconds apart at most
# often.
SURER = 0.8
SURER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TellingRules:
    """When something is told.

    Attributes:
        min_faces: detections that make a sighting believed; a photo needs one.
        cooldown: seconds after a person was last seen in which they are not announced again.
    """

    min_faces: int = 3
    cooldown: float = 0.0


class Teller:
    """Tells of the sightings of one source.

    Args:
        source: its name.
        rules: see the class.
        on_event: gets the events.
        model: id of the encoder.
        metrics: counts the sightings that ended.
    """

    def __init__(
        self,
        source: str,
        rules: TellingRules,
        *,
        on_event: Callable[[TrackEvent], None],
        model: str,
        metrics: Metrics | None,
    ) -> None:
        self._source = source
        self._rules = rules
        self._on_event = on_event
        self._model = model
        self._metrics = metrics
        # Person to when they were last seen; only people with a name, so it stays small.
        self._last_seen: dict[int, float] = {}

    def tell(self, sightings: Sequence[Sighting], frame: Frame) -> None:
        """Tell what is new: first what is no longer true, so that no two have one name."""
        for sighting in sightings:
            told = sighting.told
            if told.identity is not None and sighting.person != told.identity.person_id:
                self._withdraw(sighting, frame)
        for sighting in sightings:
            if self._believed(sighting):
                self._tell(sighting, frame)

    def left(self, sighting: Sighting) -> None:
        """Tell that it is over, if it was ever told of."""
        best = sighting.best
        self._note_seen(sighting)
        if not sighting.told.appeared or best is None:
            return
        x1, y1, x2, y2 = best.box.tolist()
        template = sighting.template
        event = Left(
            **self._said(sighting),
            start=Moment.at(sighting.start_pts, sighting.start_utc),
            end=Moment.at(sighting.end_pts, sighting.end_utc),
            best_box=(x1, y1, x2, y2),
            best_pts=best.pts,
            best_score=min(1.0, best.score),
            faces=sighting.faces,
            looks=template.looks,
        )
        self._count(sighting)
        self._on_event(
            event.with_image(best.picture).with_template(
                FusedTemplate(template.mu, template.logvar) if template.looks else None
            )
        )

    def _believed(self, sighting: Sighting) -> bool:
        return sighting.still or sighting.faces >= self._rules.min_faces

    def _tell(self, sighting: Sighting, frame: Frame) -> None:
        told, identity = sighting.told, sighting.identity
        if not told.appeared:
            told.appeared = True
            start = Moment.at(sighting.start_pts, sighting.start_utc)
            self._say(sighting, Appeared(**self._now(sighting, frame), start=start))
        if not identity.known:
            return
        if told.identity is None and not told.named:
            self._identify(sighting, frame)
        elif told.identity is None or told.identity.name != identity.name:
            self._update(sighting, frame, "renamed")
        elif sighting.sigma < SURER * told.sigma and frame.pts - told.pts >= SURER_SECONDS:
            self._update(sighting, frame, "surer")

    def _identify(self, sighting: Sighting, frame: Frame) -> None:
        passed = frame.pts - self._last_seen.get(sighting.person or 0, -np.inf)
        if 0 <= passed < self._rules.cooldown:
            # Still to be seen: the time begins anew.
            self._note_seen(sighting)
            return
        after = max(0.0, frame.pts - sighting.start_pts)
        self._note_told(sighting, frame)
        self._say(sighting, Identified(**self._now(sighting, frame), after=after))
        if self._metrics is not None:
            self._metrics.observe(TIME_TO_NAME, after, source=self._source)

    def _withdraw(self, sighting: Sighting, frame: Frame) -> None:
        """No name any more; another one is told afterwards, as ``renamed``."""
        if sighting.identity.known:
            return
        self._update(sighting, frame, "withdrawn")

    def _update(
        self, sighting: Sighting, frame: Frame, change: Literal["renamed", "withdrawn", "surer"]
    ) -> None:
        before = sighting.told.identity
        self._note_told(sighting, frame)
        self._say(
            sighting,
            Updated(
                **self._now(sighting, frame),
                change=change,
                previous_person_id=None if before is None else before.person_id,
                previous_name="unknown" if before is None else before.name or "unknown",
            ),
        )

    def _note_told(self, sighting: Sighting, frame: Frame) -> None:
        told, identity = sighting.told, sighting.identity
        told.identity = identity if identity.known else None
        told.named = True
        told.sigma, told.pts = sighting.sigma, frame.pts

    def _note_seen(self, sighting: Sighting) -> None:
        if sighting.person is not None:
            self._last_seen[sighting.person] = sighting.end_pts

    def _say(self, sighting: Sighting, event: TrackEvent) -> None:
        best = sighting.best
        self._on_event(event.with_image(None if best is None else best.picture))

    def _said(self, sighting: Sighting) -> dict[str, Any]:
        identity = sighting.identity
        return {
            "source": self._source,
            "sighting": sighting.id,
            "track_id": sighting.track_id,
            "person_id": identity.person_id,
            "name": identity.name or "unknown",
            "similarity": identity.similarity,
            "probability": identity.probability,
            "uncertainty": sighting.sigma,
            "reason": identity.reason,
            "model": self._model,
        }

    def _now(self, sighting: Sighting, frame: Frame) -> dict[str, Any]:
        x1, y1, x2, y2 = sighting.box.tolist()
        at = Moment.at(frame.pts, frame.utc)
        return {**self._said(sighting), "at": at, "box": (x1, y1, x2, y2)}

    def _count(self, sighting: Sighting) -> None:
        if self._metrics is None:
            return
        identity = sighting.identity
        self._metrics.add(
            IDENTITIES,
            source=self._source,
            outcome="known" if identity.known else "unknown",
            reason=identity.reason or "",
        )
        if sighting.template.looks:
            self._metrics.observe(SIGMA, sighting.sigma, source=self._source)
