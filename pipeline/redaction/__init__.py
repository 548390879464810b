"""Covers the faces of people in videos and pictures, chosen by who they are.

A video is read twice: `search` finds all faces, follows them and says who they are from all their
pictures; `recode` decodes again, covers and encodes.
"""

from .choice import RedactionChoice
from .covers import Style
from .options import RedactionCancelled, RedactionOptions, RedactionProgress
from .redact import redact
from .report import RedactionReport

__all__ = [
    "RedactionCancelled",
    "RedactionChoice",
    "RedactionOptions",
    "RedactionProgress",
    "RedactionReport",
    "Style",
    "redact",
]
