"""The people who can be recognised: the durable truth, and the index built from it."""

from __future__ import annotations

from .check import DoubtfulPhoto, GalleryCheck, SamePerson
from .enrol import ImportPlan, ImportReport, plan_import
from .gallery import Gallery
from .records import FaceReader, Person, Photo, PhotoReason, PhotoResult

__all__ = [
    "DoubtfulPhoto",
    "FaceReader",
    "Gallery",
    "GalleryCheck",
    "ImportPlan",
    "ImportReport",
    "Person",
    "Photo",
    "PhotoReason",
    "PhotoResult",
    "SamePerson",
    "plan_import",
]
