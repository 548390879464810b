"""The events of a source's tracks, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from facestream.engines.cards import StrangerLimits

from ..core.events import (
    Appeared,
    CandidateRecord,
    FusedTemplate,
    Identified,
    Left,
    Moment,
    TrackEvent,
    Updated,
)
from ..core.types import Frame
from ..identity.decision import verdict_of
from ..metrics.families import IDENTITIES, SIGMA, TIME_TO_NAME
from ..metrics.store import Metrics
from ..tracking.interval import SearchInterval
from ..tracking.track import Track

SURER = 0.8  # ``surer`` is emitted when sigma fell to this part of the last one emitted,
SURER_SECONDS = 5.0  # at most once in so many seconds


@dataclass(frozen=True, slots=True)
class EmissionRules:
    """When an event is emitted.

    Attributes:
        min_faces: detections that confirm a track, fewer where searched frames are far apart; a
            photo needs one.
        cooldown: seconds after a person was last seen in which they are not announced again.
        stranger: from where a face is surely none of the gallery; None: never.
    """

    min_faces: int = 3
    cooldown: float = 0.0
    stranger: StrangerLimits | None = None


class _Instant(NamedTuple):
    pts: float
    utc: float


class TrackEventEmitter:
    """Emits the events of one source's tracks.

    Args:
        model: id of the encoder.
        metrics: counts the tracks that ended.
        interval: between searched frames.
        photos: how many photos a face is compared with now.
    """

    def __init__(
        self,
        source: str,
        rules: EmissionRules,
        *,
        on_event: Callable[[TrackEvent], None],
        model: str,
        metrics: Metrics,
        interval: SearchInterval,
        photos: Callable[[], int],
    ) -> None:
        self._photos = photos
        self._source = source
        self._rules = rules
        self._on_event = on_event
        self._model = model
        self._metrics = metrics
        self._interval = interval
        # Person to when they were last seen; only people with a name, so it stays small.
        self._last_seen: dict[int, float] = {}

    def emit(self, tracks: Sequence[Track], frame: Frame) -> None:
        """Emit what changed; withdrawals first, so that no two tracks have one name."""
        at = _Instant(frame.pts, frame.utc)
        for track in tracks:
            emitted = track.emitted
            known = track.identity.known  # another name is emitted below, as ``renamed``
            if emitted.identity is not None and not known:
                self._update(track, at, "withdrawn")
        for track in tracks:
            if self._confirmed(track):
                self._emit_for(track, at)

    def left(self, track: Track) -> None:
        """Emit the last event of a track that ended, if it had a first one or is confirmed now."""
        best = track.best
        late = track.identity.known and not track.emitted.named
        if (late or not track.emitted.appeared) and self._confirmed(track):
            self._emit_for(track, _Instant(track.end_pts, track.end_utc))
        self._note_seen(track)
        if not track.emitted.appeared or best is None:
            return
        x1, y1, x2, y2 = best.box.tolist()
        template = track.template
        event = Left(
            **self._fields(track),
            start=Moment.at(track.start_pts, track.start_utc),
            end=Moment.at(track.end_pts, track.end_utc),
            best_box=(x1, y1, x2, y2),
            best_pts=best.pts,
            best_score=min(1.0, best.score),
            faces=track.faces,
            looks=template.count,
        )
        self._count(track)
        self._on_event(
            event.with_image(best.picture, best.face).with_template(
                FusedTemplate(template.mu, template.logvar, track.clearest)
                if template.count
                else None
            )
        )

    def _confirmed(self, track: Track) -> bool:
        return track.still or track.faces >= self._interval.scaled(self._rules.min_faces)

    def _emit_for(self, track: Track, at: _Instant) -> None:
        emitted, identity = track.emitted, track.identity
        if not emitted.appeared:
            emitted.appeared = True
            start = Moment.at(track.start_pts, track.start_utc)
            self._send(track, Appeared(**self._fields_at(track, at), start=start))
        if not identity.known:
            return
        if emitted.identity is None and not emitted.named:
            self._identify(track, at)
        elif emitted.identity is None or emitted.identity.name != identity.name:
            self._update(track, at, "renamed")
        elif track.sigma < SURER * emitted.sigma and at.pts - emitted.pts >= SURER_SECONDS:
            self._update(track, at, "surer")

    def _identify(self, track: Track, at: _Instant) -> None:
        passed = at.pts - self._last_seen.get(track.person or 0, -np.inf)
        if 0 <= passed < self._rules.cooldown:
            self._note_seen(track)
            return
        after = max(0.0, at.pts - track.start_pts)
        self._note_emitted(track, at)
        self._send(track, Identified(**self._fields_at(track, at), after=after))
        self._metrics.observe(TIME_TO_NAME, after, source=self._source)

    def _update(
        self, track: Track, at: _Instant, change: Literal["renamed", "withdrawn", "surer"]
    ) -> None:
        before = track.emitted.identity
        self._note_emitted(track, at)
        self._send(
            track,
            Updated(
                **self._fields_at(track, at),
                change=change,
                previous_person_id=None if before is None else before.person_id,
                previous_name="unknown" if before is None else before.name or "unknown",
            ),
        )

    def _note_emitted(self, track: Track, at: _Instant) -> None:
        emitted, identity = track.emitted, track.identity
        emitted.identity = identity if identity.known else None
        emitted.named = True
        emitted.sigma, emitted.pts = track.sigma, at.pts

    def _note_seen(self, track: Track) -> None:
        if track.person is not None:
            self._last_seen[track.person] = track.end_pts

    def _send(self, track: Track, event: TrackEvent) -> None:
        best = track.best
        if best is not None:
            event = event.with_image(best.picture, best.face)
        self._on_event(event)

    def _fields(self, track: Track) -> dict[str, Any]:
        identity = track.identity
        return {
            "source": self._source,
            "sighting": track.id,
            "track_id": track.track_id,
            "person_id": identity.person_id,
            "name": identity.name or "unknown",
            "similarity": identity.similarity,
            "probability": identity.probability,
            "uncertainty": track.sigma,
            "reason": identity.reason,
            "verdict": verdict_of(identity, track.clearest, self._rules.stranger, self._photos()),
            "candidates": tuple(CandidateRecord(**one._asdict()) for one in identity.candidates),
            "flat": track.flat,
            "file": track.file,
            "model": self._model,
        }

    def _fields_at(self, track: Track, at: _Instant) -> dict[str, Any]:
        x1, y1, x2, y2 = track.box.tolist()
        return {**self._fields(track), "at": Moment.at(*at), "box": (x1, y1, x2, y2)}

    def _count(self, track: Track) -> None:
        identity, source = track.identity, self._source
        outcome, reason = "known" if identity.known else "unknown", identity.reason or ""
        self._metrics.add(IDENTITIES, source=source, outcome=outcome, reason=reason)
        if track.template.count:
            self._metrics.observe(SIGMA, track.sigma, source=self._source)
