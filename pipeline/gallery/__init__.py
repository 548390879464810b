"""The people who can be recognised: the durable truth, and the index built from it."""

from __future__ import annotations

from .enrol import ImportPlan, ImportReport, plan_import
from .findings import DoubtfulPhoto, Finding, GalleryCheck, SamePerson
from .gallery import Gallery
from .learn import LearningRules, learn_faces
from .records import (
    FaceOrigin,
    FaceReader,
    Person,
    Photo,
    PhotoDoubt,
    PhotoNotes,
    PhotoReason,
    PhotoResult,
)

__all__ = [
    "DoubtfulPhoto",
    "FaceOrigin",
    "FaceReader",
    "Finding",
    "Gallery",
    "GalleryCheck",
    "ImportPlan",
    "ImportReport",
    "LearningRules",
    "Person",
    "Photo",
    "PhotoDoubt",
    "PhotoNotes",
    "PhotoReason",
    "PhotoResult",
    "SamePerson",
    "learn_faces",
    "plan_import",
]
