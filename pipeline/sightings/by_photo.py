"""Was the face of this photo here?"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from ..analysis import FaceAnalyzer, Picture
from ..core.errors import ImageError
from ..identity.grouping import open_grouping
from .search import SearchResult, SightingIndex
from .store import Sightings


@dataclass(frozen=True, slots=True)
class PhotoSearchResult:
    """What a search by a photo found.

    Attributes:
        sigma: uncertainty of the photo's face.
        poor: the photo shows the face too poorly for a reliable search.
    """

    found: SearchResult
    sigma: float
    poor: bool


class PhotoSearch:
    """Searches all sightings for faces of photos. May be used from several threads.

    The embeddings of the sightings are read at the first search and stay in memory; later ones
    read what is new.
    """

    def __init__(self, sightings: Sightings, analyzer: FaceAnalyzer) -> None:
        self._sightings = sightings
        self._analyzer = analyzer
        self._index: SightingIndex | None = None
        self._lock = threading.Lock()

    def search(
        self,
        photo: Picture,
        *,
        name: str = "the picture",
        since: datetime | None = None,
        until: datetime | None = None,
        sources: tuple[str, ...] | None = None,
        limit: int = 100,
    ) -> PhotoSearchResult:
        """The sightings that show the largest face of a photo.

        Args:
            name: of the photo, for errors.
            since, until, sources, limit: see `SightingIndex.search`.

        Raises:
            ImageError: it cannot be read, or shows no face.
        """
        faces = self._analyzer.analyze_batch([photo], keep="largest")[0]
        if faces.faces.mu is None or not len(faces):
            raise ImageError(f"{name} shows no face; give a photo of one", reason="no_face")
        rules = self._analyzer.settings.recognition
        rule = open_grouping(self._analyzer.encoder.card, rules, self._sightings.calibrated())
        sigma = float(faces.sigma[0])
        with self._lock:
            if self._index is None:
                self._index = SightingIndex(self._sightings, self._analyzer.model_id, rule)
            self._index.rule = rule
            found = self._index.search(
                faces.faces.mu[0],
                sigma=sigma,
                since=since,
                until=until,
                sources=sources,
                limit=limit,
            )
        return PhotoSearchResult(found, sigma, sigma > rule.thresholds.max_sigma)
