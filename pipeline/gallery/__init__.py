"""The people who can be recognised: the durable truth, and the index built from it."""

from __future__ import annotations

from ..core.types import Matches
from ..identity.decision import Thresholds, decide_frame
from .enrol import ImportPlan, ImportReport, plan_import
from .gallery import Gallery
from .records import FaceReader, Person, Photo, PhotoReason, PhotoResult

__all__ = [
    "FaceReader",
    "Gallery",
    "ImportPlan",
    "ImportReport",
    "Matches",
    "Person",
    "Photo",
    "PhotoReason",
    "PhotoResult",
    "Thresholds",
    "decide_frame",
    "plan_import",
]
