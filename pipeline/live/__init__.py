"""Live sources: they are read for months, lost and found again, and say how they are."""

from __future__ import annotations

from .backoff import Backoff
from .frozen import FrozenDetector
from .reader import LiveReader, is_live
from .status import Status

__all__ = ["Backoff", "FrozenDetector", "LiveReader", "Status", "is_live"]
