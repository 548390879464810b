"""Detect, align, embed and name the faces of pictures: the one place where this is done.

``run`` calls the steps from its stages; ``identify``, ``embed``, enrolment and the Python API call
the whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from facestream.engines.base import Engine
from facestream.engines.closing import Closing

from .core.config import Settings
from .core.images import DecodedPhoto, read_photo
from .core.picture_limits import set_picture_limits
from .core.types import Faces, Floats, Identity, Image, Matches
from .detection import Detector, open_detector
from .detection.photos import search_again
from .identity.decision import Thresholds
from .identity.search import Matcher, MatchQuery, SearchableGallery, open_matcher, open_rules
from .recognition.align import align_faces
from .recognition.encoder import Encoder
from .recognition.uncertainty import normalise, sigma

Keep = Literal["all", "largest"]
Picture = Image | DecodedPhoto | Path | str


@dataclass(frozen=True, slots=True, eq=False)
class AnalyzedFace:
    """One face of a picture.

    Attributes:
        box: 4 float32, x1, y1, x2, y2 in pixels; may reach beyond the picture.
        score: the detector's probability, 0..1.
        landmarks: 5×2 float32.
        embedding: D float32 of length 1; compare two by their dot product.
        sigma: uncertainty of the embedding: about 0.3 for a clear face, above 1 for a hopeless one.
        identity: who it is, or why that cannot be said.
    """

    box: Floats
    score: float
    landmarks: Floats
    embedding: Floats
    sigma: float
    identity: Identity


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The N faces of a picture, by descending score of the detector; iterates over them.

    Attributes:
        faces: boxes, scores, landmarks, mu and logvar.
        sigma: N float32.
        identities: N.
        turned: degrees (90, 180, 270) counterclockwise by which the picture had to be turned until
            a face was found; boxes and landmarks are in the picture as it is.
    """

    faces: Faces
    sigma: Floats
    identities: tuple[Identity, ...]
    turned: int = 0

    def __len__(self) -> int:
        return len(self.faces)

    def __iter__(self) -> Iterator[AnalyzedFace]:
        faces = self.faces
        embeddings = faces.boxes if faces.mu is None else normalise(faces.mu)
        for row, identity in enumerate(self.identities):
            yield AnalyzedFace(
                box=faces.boxes[row],
                score=float(faces.scores[row]),
                landmarks=faces.landmarks[row],
                embedding=embeddings[row],
                sigma=float(self.sigma[row]),
                identity=identity,
            )

    def left_to_right(self) -> Analysis:
        """The same faces, ordered by the left edge of their boxes."""
        order = np.argsort(self.faces.boxes[:, 0], kind="stable").tolist()
        return replace(
            self,
            faces=self.faces.take(order),
            sigma=self.sigma[order],
            identities=tuple(self.identities[i] for i in order),
        )


class FaceAnalyzer(Closing):
    """Finds, aligns, embeds and names the faces of pictures. May be used from several threads.

    ::

        with Gallery("people.db") as gallery, FaceAnalyzer(gallery=gallery) as analyzer:
            for face in analyzer.analyze("party.jpg"):
                print(face.box, face.identity.name or face.identity.reason, face.sigma)

    The networks are loaded when they are first needed, or by ``load``. Every method may raise
    ``EngineError`` where they cannot run.

    Args:
        settings: of detector, encoder, recognition, run time, and (for the whole process) photos.
        gallery: who is known; without one every identity has the reason ``no_gallery``.
    """

    def __init__(
        self, settings: Settings | None = None, *, gallery: SearchableGallery | None = None
    ) -> None:
        self.settings = settings or Settings()
        if settings is not None:
            set_picture_limits(settings.photos.limits())
        self._gallery = gallery
        self._detector: Detector | None = None
        self._encoder: Encoder | None = None
        self._matcher: Matcher | None = None
        self._locks = threading.Lock(), threading.Lock()

    def load(self) -> Self:
        """Load both networks now, side by side.

        Raises:
            EngineError: one of them cannot run here; the other is freed.
            ConfigError: there is no such detector.
            ModelMismatch: the gallery was made with another encoder.
        """
        with ExitStack() as on_error:
            on_error.callback(self.close)
            with ThreadPoolExecutor(1) as pool:
                detector = pool.submit(lambda: self.detector)
                model_id = self.encoder.model_id
            detector.result()
            if self._gallery is not None:
                self._gallery.require_model(model_id)
            on_error.pop_all()
        return self

    def search_in(self, gallery: SearchableGallery | None) -> None:
        """Search this gallery from now on; for a gallery whose reader this is."""
        self._gallery = gallery
        self._matcher = None

    @property
    def detector(self) -> Detector:
        """Finds faces."""
        with self._locks[0]:
            if self._detector is None:
                self._detector = open_detector(
                    self.settings.detector, self.settings.runtime.serving()
                )
            return self._detector

    @property
    def encoder(self) -> Encoder:
        """Embeds aligned faces."""
        with self._locks[1]:
            if self._encoder is None:
                self._encoder = Encoder(
                    serving=self.settings.runtime.serving(),
                    max_batch=self.settings.encoder.max_batch,
                )
            return self._encoder

    @property
    def matcher(self) -> Matcher:
        """Searches the gallery and decides."""
        if self._matcher is None:
            self._matcher = open_matcher(
                self._gallery, self.encoder.card, self.settings.recognition
            )
        return self._matcher

    @property
    def model_id(self) -> str:
        """The encoder's id; changes whenever the embeddings do."""
        return self.encoder.model_id

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs the networks, by the network's name."""
        return {**self.detector.engines, **self.encoder.engines}

    def analyze(self, picture: Picture) -> Analysis:
        """The faces of a picture file, or of an image H×W×3 BGR uint8.

        Raises:
            ImageError: the file cannot be read.
        """
        return self.analyze_batch([picture])[0]

    def analyze_batch(self, pictures: Sequence[Picture], *, keep: Keep = "all") -> list[Analysis]:
        """The faces of each picture; the networks see all of them together.

        Args:
            pictures: files, or images H×W×3 BGR uint8 of any sizes. Boxes are in pixels of the
                file, also where it was decoded at a fraction of its size.
            keep: all faces, or the ``largest`` of each picture only.

        Raises:
            ImageError: a file cannot be read.
        """
        photos = [_photo(picture) for picture in pictures]
        images = [photo.image for photo in photos]
        found, turns = self._found(images)
        if keep == "largest":
            found = [_largest(faces) for faces in found]
        counts = np.cumsum([len(faces) for faces in found])[:-1]
        crops = [align_faces(i, f.landmarks) for i, f in zip(images, found, strict=True) if len(f)]
        if not crops:
            return [Analysis(faces, np.zeros(0, np.float32), ()) for faces in found]
        mu, logvar = self.embed(np.concatenate(crops))
        matches = self.matcher.search(mu)
        rows = np.split(np.arange(len(mu)), counts)
        named = [
            self._named(faces.with_embeddings(mu[own], logvar[own]), [matches[row] for row in own])
            for faces, own in zip(found, rows, strict=True)
        ]
        return [
            replace(one, faces=one.faces.scaled(photo.scale, photo.scale), turned=turned)
            for one, photo, turned in zip(named, photos, turns, strict=True)
        ]

    def similarity(self, one: AnalyzedFace, other: AnalyzedFace) -> tuple[float, Thresholds]:
        """How similar two faces are, −1..1 as in events, and when that means one person."""
        calibrated = None if self._gallery is None else self._gallery.calibrated()
        rules = self.settings.recognition
        thresholds, cohort = open_rules(self.encoder.card, rules, calibrated)
        cosine = one.embedding[None] @ other.embedding
        if cohort is not None:
            first, second = (cohort.means(face.embedding[None]) for face in (one, other))
            cosine = cohort.normalised(cosine, first, second)
        return float(cosine[0]), thresholds.among(1)

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        """The faces of an image, not embedded, by descending score.

        Args:
            image: H×W×3 BGR uint8.
            min_face: smallest faces to find, in pixels; None: as the settings say.
        """
        return self.detector.detect_batch([image], min_face=[min_face])[0]

    def _found(self, images: Sequence[Image]) -> tuple[list[Faces], list[int]]:
        """The faces of photos, and by how many degrees each was turned until one was found."""
        found = self.detector.detect_batch(images)
        both = [search_again(i, faces, self.detect) for i, faces in zip(images, found, strict=True)]
        return [faces for faces, _ in both], [turned for _, turned in both]

    def align(self, image: Image, landmarks: Floats) -> Image:
        """Crops N×112×112×3 BGR uint8 of the faces with these landmarks N×5×2."""
        return align_faces(image, landmarks)

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        """mu N×D (not normalised) and logvar N×D of crops N×112×112×3 BGR uint8."""
        return self.encoder.embed(crops)

    def close(self) -> None:
        """Free the networks; they are loaded again when they are needed."""
        for network in (self._detector, self._encoder):
            if network is not None:
                network.close()
        self._detector = self._encoder = self._matcher = None

    def _named(self, faces: Faces, matches: Sequence[Matches]) -> Analysis:
        """Decide on all faces of a picture together: a person is in it at most once."""
        if faces.logvar is None or not len(faces):
            return Analysis(faces, np.zeros(0, np.float32), ())
        spread = sigma(faces.logvar)
        sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).min(axis=1)
        queries = [
            MatchQuery(row, float(one), float(side))
            for row, one, side in zip(matches, spread, sides, strict=True)
        ]
        return Analysis(faces, spread, tuple(self.matcher.decide(queries)))


def _photo(picture: Picture) -> DecodedPhoto:
    if isinstance(picture, DecodedPhoto):
        return picture
    return DecodedPhoto(picture) if isinstance(picture, np.ndarray) else read_photo(picture)


def _largest(faces: Faces) -> Faces:
    if len(faces) < 2:
        return faces
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    return faces.take([int(np.argmax(sides.prod(axis=1)))])
