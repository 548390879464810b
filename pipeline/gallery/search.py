"""A gallery as the people to search among: implements ``identity.search.Searcher``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..core.config import RuntimeSettings
from ..core.errors import GalleryError, ModelMismatch
from ..core.types import Floats, Matches
from ..recognition.cohort import Cohort
from .index import Searching

if TYPE_CHECKING:
    from .gallery import Gallery

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class GallerySearch:
    """See ``Searcher``.

    Attributes:
        gallery: is searched.
        model_id: of the encoder whose embeddings are compared.
        cohort: the similarities are normalised against it; None leaves them cosines.
    """

    gallery: Gallery
    model_id: str
    cohort: Cohort | None = None

    def search(self, mu: Floats, k: int) -> Matches:
        """See ``Searcher``."""
        return self.gallery.search(mu, k, cohort=self.cohort)

    def templates(self) -> int:
        """See ``Searcher``."""
        return self.gallery.templates()

    def refresh(self) -> bool:
        """See ``Searcher``. A gallery that cannot be read just now stays as it was.

        Raises:
            ModelMismatch: it was embedded again by another model.
        """
        try:
            if not self.gallery.refresh():
                return False
            self.gallery.require_model(self.model_id)
        except ModelMismatch:
            raise
        except GalleryError as error:
            log.warning("the gallery stays as it was read last: %s", error)
            return False
        log.info("the gallery changed: all live tracks are searched again")
        return True


def searching_of(runtime: RuntimeSettings) -> Searching:
    """How the settings want a gallery to be searched."""
    strictness: Literal["fallback", "strict"] = "strict" if runtime.strict_device else "fallback"
    return Searching(runtime.index, strictness, runtime.device)
