"""Live sources: they are read for months, lost and found again, and say how they are.

::

    connecting ──► live ◄──► stalled          no frame for live.stall_after, or a frozen picture
        │           │           │
        └───────────┴───────────┴──► retrying ──► live     after pauses of 1 to 30 s, for ever
    paused      outside the schedule
    ended       stopped, or a file, a recorded clip or a pipe that was read to its end
    failed      no try can succeed: a protocol that FFmpeg does not know, a device that is no
                camera, standard input that brings no video

A camera that is absent, a password that is refused and a path that is not there are tried again,
the last two with the longest pause.
"""

from __future__ import annotations

from .backoff import Backoff
from .frozen import FrozenDetector
from .live_reader import LiveReader, is_live
from .status import Status

__all__ = ["Backoff", "FrozenDetector", "LiveReader", "Status", "is_live"]
