"""Who is present, by camera and by person: a face is, and its person for a while after it left."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ...core.events import Event, Left, SightingEvent, SourceStateEvent


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """A person when last seen by a camera.

    Attributes:
        at: UTC.
    """

    id: int
    name: str
    similarity: float
    at: datetime


@dataclass(slots=True)
class _Face:
    person: SeenPerson | None
    until: float | None = None  # when it is not present any more; None: it is visible


@dataclass(slots=True)
class CameraPresence:
    """What one camera sees.

    Attributes:
        state: of the camera; None where it has none, and before the first.
        last: the person who was named last.
    """

    state: str | None = None
    last: SeenPerson | None = None
    faces: dict[str, _Face] = field(default_factory=dict)

    @property
    def people(self) -> list[SeenPerson]:
        """Who is present, ordered by name; the newest of each."""
        newest: dict[int, SeenPerson] = {}
        for face in self.faces.values():
            one = face.person
            if one is not None and (one.id not in newest or one.at >= newest[one.id].at):
                newest[one.id] = one
        return sorted(newest.values(), key=lambda person: (person.name, person.id))

    @property
    def unknown(self) -> int:
        """Faces without a name that are visible."""
        return sum(face.person is None and face.until is None for face in self.faces.values())


class Presence:
    """Follows the events of all cameras.

    Args:
        window: seconds for which somebody who left counts as present.

    Attributes:
        cameras: by name.
    """

    def __init__(self, window: float) -> None:
        self.window = window
        self.cameras: dict[str, CameraPresence] = {}

    def event(self, event: Event, *, now: float, at: datetime) -> None:
        """Something happened.

        Args:
            now: seconds of a monotonic clock.
            at: the time of day, UTC.
        """
        if not event.source:
            return
        camera = self.cameras.setdefault(event.source, CameraPresence())
        if isinstance(event, SourceStateEvent):
            camera.state = event.state
            if event.state in ("ended", "failed", "paused", "retrying"):
                for face in camera.faces.values():
                    self._leave(face, now)
        elif isinstance(event, SightingEvent):
            self._face(camera, event, now, at)

    def _face(self, camera: CameraPresence, event: SightingEvent, now: float, at: datetime) -> None:
        face = camera.faces.setdefault(event.sighting, _Face(None))
        if event.person_id is None:
            face.person = None
        else:
            face.person = SeenPerson(event.person_id, event.name, event.similarity, at)
            camera.last = face.person
        face.until = None
        if isinstance(event, Left):
            self._leave(face, now)
            if face.person is None:
                del camera.faces[event.sighting]

    def tick(self, now: float) -> set[str]:
        """Let those go whose window is over; returns the cameras that changed."""
        changed = set()
        for name, camera in self.cameras.items():
            over = [
                uid
                for uid, face in camera.faces.items()
                if face.until is not None and face.until <= now
            ]
            for uid in over:
                del camera.faces[uid]
                changed.add(name)
        return changed

    def forget(self, person: int) -> None:
        """Nothing of this person is kept."""
        for camera in self.cameras.values():
            camera.faces = {
                uid: face
                for uid, face in camera.faces.items()
                if face.person is None or face.person.id != person
            }
            if camera.last is not None and camera.last.id == person:
                camera.last = None

    def present(self) -> dict[int, tuple[SeenPerson, str]]:
        """Everybody who is present, with the camera that saw them last."""
        found: dict[int, tuple[SeenPerson, str]] = {}
        for name, camera in self.cameras.items():
            for person in camera.people:
                if person.id not in found or person.at >= found[person.id][0].at:
                    found[person.id] = person, name
        return found

    def _leave(self, face: _Face, now: float) -> None:
        if face.until is None:
            face.until = now + self.window
