"""One person seen: the evidence, the name and what was emitted."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import numpy as np

from ..core.events import face_picture
from ..core.types import Faces, Floats, Frame, Identity, Image, Matches
from ..recognition.align import align_faces
from ..recognition.uncertainty import sigma
from .embedding_schedule import Certainty, EmbeddingPlan
from .fusion import Template
from .parallax import Parallax

# A fused embedding whose sigma fell by less than this, and that turned by less than the angle of
# this cosine, finds the same people.
SAME_SIGMA = 0.98
SAME_DIRECTION = 0.999
# A name this far (in similarity) above the threshold needs no more embeddings for its own sake.
SURE_LEAD = 0.1


@dataclass(slots=True, eq=False)
class BestFace:
    """The best picture of a face so far: the cut of the frame, and the aligned face."""

    quality: float
    box: Floats
    score: float
    pts: float
    picture: Image
    face: Image


@dataclass(slots=True, eq=False)
class EmittedState:
    """What was emitted of a track.

    Attributes:
        appeared: that it is there.
        identity: its name; None before, and when it was withdrawn.
        named: it ever had a name.
        sigma: the one emitted last.
        pts: when that was.
    """

    appeared: bool = False
    identity: Identity | None = None
    named: bool = False
    sigma: float = float("inf")
    pts: float = -np.inf


@dataclass(slots=True, eq=False)
class Track:
    """One person, from when they appeared until they left. Owned by one thread.

    Attributes:
        sigma: uncertainty of the fused embedding.
        clearest: sigma of the surest embedding. Poor embeddings are no better together: their
            errors are alike, and only the formula makes the fused sigma small.
        largest: the shorter side of the face's largest box in pixels.
        matches: the people most similar, of the last search.
        identity: the name given, or why there is none.
        candidate: the person that the last searches found.
        agreed: how many of them in a row.
        proposal: the identity that they agree on.
        plan: of its embeddings.
        certainty: whether more embeddings may change what is known.
        file: of the photo it is in.
        parallax: of its landmarks.
    """

    track_id: int
    source: str
    still: bool
    start_pts: float
    start_utc: float
    end_pts: float
    end_utc: float
    box: Floats
    plan: EmbeddingPlan
    landmarks: Floats = field(default_factory=lambda: np.zeros((5, 2), np.float32))
    score: float = 0.0
    faces: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    template: Template = field(default_factory=Template)
    identity: Identity = field(default_factory=lambda: Identity.unknown("pending"))
    sigma: float = float("nan")
    clearest: float = float("inf")
    largest: float = 0.0
    matches: Matches | None = None
    candidate: int | None = None
    agreed: int = 0
    proposal: Identity | None = None
    certainty: Certainty = "open"
    best: BestFace | None = None
    emitted: EmittedState = field(default_factory=EmittedState)
    file: str | None = None
    parallax: Parallax = field(default_factory=Parallax)
    _searched: tuple[float, Floats] | None = None

    @classmethod
    def begin(cls, track_id: int, frame: Frame, box: Floats, plan: EmbeddingPlan) -> Track:
        """A track that starts in this frame; `add_detection` counts its face."""
        return cls(
            track_id,
            frame.source,
            frame.still,
            start_pts=frame.pts,
            start_utc=frame.utc,
            end_pts=frame.pts,
            end_utc=frame.utc,
            box=box,
            plan=plan,
            file=frame.file,
        )

    @property
    def flat(self) -> bool | None:
        """Whether it moves as a picture of a face does; see `Parallax.flat`."""
        return self.parallax.flat

    @property
    def person(self) -> int | None:
        """Id of the person it is named as."""
        return self.identity.person_id

    def add_detection(self, frame: Frame, faces: Faces, row: int, *, quality: float) -> bool:
        """Continue with this detection; True when the face is larger than it ever was."""
        self.box, self.landmarks = faces.boxes[row], faces.landmarks[row]
        self.score = float(faces.scores[row])
        self.parallax.add(self.landmarks, frame.pts)
        self.end_pts, self.end_utc = frame.pts, frame.utc
        self.faces += 1
        x1, y1, x2, y2 = self.box.tolist()
        before = self.largest
        self.largest = max(before, min(x2 - x1, y2 - y1))
        # A picture is cut out only for a clearly better face.
        if self.best is None or quality > self.best.quality * 1.05:
            picture = face_picture(frame.image, self.box)
            face = align_faces(frame.image, self.landmarks[None])[0]
            self.best = BestFace(quality, self.box, self.score, frame.pts, picture, face)
        return self.largest > before

    def add_embedding(self, mu: Floats, logvar: Floats, *, at: float) -> None:
        """Add an embedding (mu and logvar, D each) to the evidence."""
        self.template.add(mu, logvar, at=at)
        self.clearest = min(self.clearest, float(sigma(logvar[None])[0]))
        self.sigma = float(sigma(self.template.logvar[None])[0])

    def needs_search(self, *, confirm: int) -> bool:
        """True when a search may find something new."""
        if self._searched is None or 0 < self.agreed < confirm:
            return True
        before, mu = self._searched
        return self.sigma < SAME_SIGMA * before or self.template.similarity(mu) < SAME_DIRECTION

    def set_matches(self, matches: Matches) -> None:
        """Keep the result of a search."""
        self.matches = matches
        self._searched = (self.sigma, self.template.mu)

    def set_identity(self, identity: Identity, *, threshold: float) -> None:
        """Give it a name, or the reason for none."""
        self.identity = identity
        clear = identity.known and identity.similarity >= threshold + SURE_LEAD
        futile = identity.reason in ("no_gallery", "too_small", "flat")
        self.certainty = "sure" if clear or futile else "open"
