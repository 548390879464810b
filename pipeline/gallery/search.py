"""A gallery as the ``Searcher`` that identity asks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from facestream.engines.index import IndexOptions

from ..core.config import RuntimeSettings
from ..core.errors import GalleryError, ModelMismatch
from ..core.types import Floats, Matches
from ..recognition.cohort import Cohort

if TYPE_CHECKING:
    from .gallery import Gallery

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class GallerySearch:
    """Searches a gallery for one encoder; see ``identity.search.Searcher``.

    Attributes:
        gallery: that is searched.
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


def searching_of(runtime: RuntimeSettings) -> IndexOptions:
    """How the settings want a gallery to be searched."""
    strictness: Literal["fallback", "strict"] = "strict" if runtime.strict_device else "fallback"
    return IndexOptions(runtime.index, strictness, runtime.device)
