"""How a video is redacted, and what its steps share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import ConfigError, FacestreamError
from .choice import RedactionChoice
from .covers import Style

Step = Literal["search", "cover", "verify"]


class RedactionCancelled(FacestreamError):
    """The caller ended it; nothing was written."""


@dataclass(frozen=True, slots=True)
class RedactionProgress:
    """How far it is.

    Attributes:
        step: ``search`` finds and names the faces, ``cover`` writes the video, ``verify`` searches
            what was written.
        frames: of this step so far.
        total: of this step; None where the file does not say.
    """

    step: Step
    frames: int
    total: int | None


OnProgress = Callable[[RedactionProgress], None]


@dataclass(frozen=True, slots=True)
class RedactionOptions:
    """How faces are covered and the video is written.

    Attributes:
        choice: whose faces are covered.
        style: what is put over a face.
        margin: half of a cover's width over half of a face's box, above 1.
        min_face: smallest faces that are searched for, in pixels of the picture as it is shown.
        least_score: lowest probability of the detector's last network, 0..1. Lower than for
            names: what may be a face is covered.
        quality: CRF of the encoder, lower is better; None: near the source (see `recode`).
        audio: keep the sound.
        verify: search every so many frames of what was written; 0: none.
        force: replace an output that exists.
        on_progress: called in the thread that works, for each batch of frames.
        cancel: once set, `RedactionCancelled` is raised soon.
    """

    choice: RedactionChoice = field(default_factory=RedactionChoice)
    style: Style = "blur"
    margin: float = 1.5
    min_face: int = 20
    least_score: float = 0.6
    quality: int | None = None
    audio: bool = True
    verify: int = 5
    force: bool = False
    on_progress: OnProgress | None = None
    cancel: threading.Event | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.margin <= 4.0:
            raise ConfigError(f"the margin must be 1 to 4, not {self.margin:g}")
        if not 12 <= self.min_face <= 4096:
            raise ConfigError(f"the smallest face must have 12 to 4096 pixels, not {self.min_face}")
        if not 0 < self.least_score < 1:
            raise ConfigError(f"the score must be between 0 and 1, not {self.least_score:g}")
        if self.quality is not None and not 0 <= self.quality <= 51:
            raise ConfigError(f"the quality must be 0 to 51, not {self.quality}")
        if self.verify < 0:
            raise ConfigError(f"every how many frames are verified must not be {self.verify}")

    def advance(self, step: Step, frames: int, total: int | None) -> None:
        """Report progress; raises RedactionCancelled once the caller wants no more."""
        if self.cancel is not None and self.cancel.is_set():
            raise RedactionCancelled("cancelled; nothing was written")
        if self.on_progress is not None:
            self.on_progress(RedactionProgress(step, frames, total))
