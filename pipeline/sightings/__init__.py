"""The memory of a run: sightings in the database, their pictures beside it, and questions to it."""

from __future__ import annotations

from .records import Page, Sighting, SightingFilter
from .store import Sightings

__all__ = ["Page", "Sighting", "SightingFilter", "Sightings"]
