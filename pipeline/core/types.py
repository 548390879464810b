"""The data that travels through the pipeline.

Boxes are x1, y1, x2, y2 in pixels of the frame; landmarks are left eye, right eye, nose,
left and right mouth corner (left and right as seen in the picture); images are BGR uint8.
All are frozen: data that is passed to another thread does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

Reason = Literal[
    "no_gallery",  # no person is enrolled
    "too_small",  # the face is too small to recognise
    "uncertain",  # sigma is too high: the picture shows too little of the face
    "ambiguous",  # two people are about equally similar
    "below_threshold",  # no person is similar enough
    "flat",  # it moves as a picture of a face does, and such faces get no name
    "taken",  # the best person is already in this frame, more similar elsewhere
    "pending",  # not searched yet
]

Verdict = Literal["known", "stranger", "unsure"]
"""``known``: a person of the gallery; ``stranger``: clear enough to say that it is none of them;
``unsure``: neither, the picture says too little."""


def _check(name: str, array: NDArray[Any], shape: tuple[int | None, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        want = "×".join("N" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be {want}, not {'×'.join(map(str, array.shape))}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        source: name of the source, free of credentials.
        index: number of the picture in its source, from 0.
        pts: presentation time in seconds since the source's start.
        utc: wall-clock time of the picture, seconds since the epoch; NaN where it is not known (a
            photo that does not say when it was taken).
        captured_at: monotonic clock in seconds when it was received; its age counts from here.
        image: H×W×3 BGR uint8.
        still: a single photo: tracks do not continue from the previous picture.
        file: the photo's file.
    """

    source: str
    index: int
    pts: float
    utc: float
    captured_at: float
    image: Image
    still: bool = False
    file: str | None = None

    def __post_init__(self) -> None:
        _check("image", self.image, (None, None, 3))
        if self.image.dtype != np.uint8:
            raise ValueError(f"image must be uint8, not {self.image.dtype}")

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Frame({self.source!r}, index={self.index}, pts={self.pts:.3f}, {width}x{height})"


@dataclass(frozen=True, slots=True, eq=False)
class LazyFrame:
    """A decoded frame whose picture is made only when it is needed.

    Most frames of a live camera are superseded before they are searched: converting them to BGR
    would be lost work. The fields are as in `Frame`.

    Attributes:
        convert: makes the picture, H×W×3 BGR uint8; None where that is not possible. Called at
            most once, in any thread.
    """

    source: str
    index: int
    pts: float
    utc: float
    captured_at: float
    convert: Callable[[], Image | None]

    def to_frame(self) -> Frame | None:
        """The frame; None when its picture cannot be made."""
        image = self.convert()
        if image is None:
            return None
        return Frame(self.source, self.index, self.pts, self.utc, self.captured_at, image)


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The faces of one picture, a struct of arrays of N rows each.

    Attributes:
        boxes: N×4 float32.
        scores: N float32, the detector's probability.
        landmarks: N×5×2 float32.
        mu: N×D float32, the embedding from the encoder (not normalised), or None.
        logvar: N×D float32, log variance of each dimension of ``mu``, or None.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats
    mu: Floats | None = None
    logvar: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        _check("boxes", self.boxes, (n, 4))
        _check("scores", self.scores, (n,))
        _check("landmarks", self.landmarks, (n, 5, 2))
        if (self.mu is None) != (self.logvar is None):
            raise ValueError("mu and logvar come together")
        if self.mu is not None and self.logvar is not None:
            _check("mu", self.mu, (n, None))
            _check("logvar", self.logvar, self.mu.shape)

    @classmethod
    def empty(cls) -> Faces:
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            landmarks=np.zeros((0, 5, 2), np.float32),
        )

    @classmethod
    def join(cls, parts: Sequence[Faces]) -> Faces:
        """The faces of all parts in order, without embeddings."""
        if not parts:
            return cls.empty()
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            landmarks=np.concatenate([part.landmarks for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def best_score(self) -> float:
        """The highest score; 0 where there is no face."""
        return float(self.scores.max(initial=0))

    def moved(self, x: float, y: float) -> Faces:
        """The same faces shifted by ``x`` and ``y`` pixels."""
        shift = np.array([x, y], np.float32)
        return replace(self, boxes=self.boxes + np.tile(shift, 2), landmarks=self.landmarks + shift)

    def scaled(self, x: float, y: float) -> Faces:
        """The same faces in a picture that is ``x`` times as wide and ``y`` times as high."""
        scale = np.array([x, y], np.float32)
        return replace(self, boxes=self.boxes * np.tile(scale, 2), landmarks=self.landmarks * scale)

    def take(self, rows: NDArray[np.integer[Any]] | NDArray[np.bool_] | list[int]) -> Faces:
        """These rows, in this order."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        arrays = {column.name: getattr(self, column.name) for column in fields(self)}
        return Faces(**{name: array[rows] for name, array in arrays.items() if array is not None})

    def with_embeddings(self, mu: Floats, logvar: Floats) -> Faces:
        return replace(self, mu=mu, logvar=logvar)

    def __repr__(self) -> str:
        dim = None if self.mu is None else self.mu.shape[1]
        return f"Faces({len(self)}, embedding={dim})"


class PersonMatch(NamedTuple):
    """Someone whom an ambiguous face may be."""

    person_id: int
    name: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a face is, or why it is unknown.

    Attributes:
        person_id: the gallery's id, or None when unknown.
        name: the person's name, or None when unknown.
        similarity: to the best template, −1..1 (0 when nothing was searched): the cosine,
            normalised by a cohort or not.
        probability: calibrated probability that ``name`` is right, 0..1.
        reason: why it is unknown; None when known.
        candidates: of an ``ambiguous`` face: the people it may be, the most similar first.
    """

    person_id: int | None
    name: str | None
    similarity: float
    probability: float
    reason: Reason | None
    candidates: tuple[PersonMatch, ...] = ()

    @classmethod
    def unknown(
        cls,
        reason: Reason,
        *,
        similarity: float = 0.0,
        probability: float = 0.0,
        candidates: tuple[PersonMatch, ...] = (),
    ) -> Identity:
        return cls(None, None, similarity, probability, reason, candidates)

    @property
    def known(self) -> bool:
        return self.person_id is not None


class Matches(NamedTuple):
    """The most similar people of M faces, best first.

    Attributes:
        similarities: M×k float32 cosines, or normalised by a cohort, −inf where there are
            fewer than k people.
        person_ids: M×k int64, −1 where there are fewer.
        names: M rows of k names, None where there are fewer.
    """

    similarities: Floats
    person_ids: NDArray[np.int64]
    names: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrackSnapshot:
    """A face followed through its source, as it is in one frame.

    Attributes:
        track_id: unique within a run.
        box: 4 float32.
        landmarks: 5×2 float32.
        score: the detector's probability in this frame.
        identity: the name so far.
        sigma: uncertainty of the track's fused embedding (see ``recognition.uncertainty``).
        faces: detections gathered so far.
        flat: True where its landmarks move as those of a picture of a face, False where they do
            not, None where that cannot be told.
    """

    track_id: int
    box: Floats
    landmarks: Floats
    score: float
    identity: Identity
    sigma: float
    faces: int
    flat: bool | None = None


Track = TrackSnapshot
"""Deprecated name of `TrackSnapshot`."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """The results of a frame; each stage adds its part with ``dataclasses.replace``.

    Attributes:
        frame: the picture.
        faces: detections, with embeddings once they are made.
        crops: N×112×112×3 aligned faces (BGR uint8), or None before alignment.
        tracks: the tracks seen in this frame.
        detected: False on frames the detector skipped (``detect_every``).
    """

    frame: Frame
    faces: Faces = field(default_factory=Faces.empty)
    crops: Image | None = None
    tracks: tuple[TrackSnapshot, ...] = ()
    detected: bool = False
