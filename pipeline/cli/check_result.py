"""What ``facestream doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: e.g. ``backend``.
        name: what was looked at.
        state: ``failed`` means that facestream cannot do its work.
        detail: version, reason or measurement.
    """

    area: str
    name: str
    state: State
    detail: str
