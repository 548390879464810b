"""From a track that is over to the event that tells of it."""

from __future__ import annotations

from ..events import FusedTemplate, Left, Moment
from ..types import Identity
from .recognise import Ended
from .tracker import LiveTrack


def sighting_of(ended: Ended, *, min_faces: int, model: str) -> Left | None:
    """The event for a track that is over, or None for one too short to be believed.

    Args:
        ended: the track and its source.
        min_faces: detections a track needs, unless its source is a photo.
        model: id of the encoder.
    """
    track, best = ended.track, ended.track.best
    if best is None or (track.faces < min_faces and not ended.still):
        return None
    identity: Identity = track.identity
    x1, y1, x2, y2 = (float(value) for value in best.box)
    return (
        Left(
            source=ended.source,
            sighting=track.sighting,
            track_id=track.track_id,
            start=Moment.at(track.start_pts, track.start_utc),
            end=Moment.at(track.end_pts, track.end_utc),
            person_id=identity.person_id,
            name=identity.name or "unknown",
            similarity=identity.similarity,
            probability=identity.probability,
            uncertainty=track.sigma,
            reason=identity.reason,
            best_box=(x1, y1, x2, y2),
            best_pts=best.pts,
            best_score=min(1.0, best.score),
            faces=track.faces,
            looks=track.template.looks,
            model=model,
        )
        .with_image(best.picture)
        .with_template(_template(track))
    )


def _template(track: LiveTrack) -> FusedTemplate | None:
    template = track.template
    return FusedTemplate(template.mu, template.logvar) if template.looks else None
