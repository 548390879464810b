"""Every error facestream raises on purpose; the engines' own are in ``engines.errors``.

A message says what was wrong, with what, and what to do about it, in one line.
"""

from __future__ import annotations

from typing import Literal

from facestream.engines.errors import one_line

RejectReason = Literal["no_face", "several_faces", "too_small", "unreadable", "synthetic"]
Retry = Literal["soon", "slowly", "never"]


class FacestreamError(Exception):
    """Base of all errors of the pipeline; its message is one printable line."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class UsageError(FacestreamError):
    """The user's input is wrong: the command line prints the message and exits with 2."""


class ChangedSince(UsageError):
    """Something else was changed meanwhile; nothing was done."""


class ConfigError(UsageError):
    """A setting is unknown or has a value that cannot be used."""


class SourceError(UsageError):
    """A source cannot be opened or read.

    Attributes:
        retry: whether a live source is retried: ``soon``; ``slowly`` where a person has to act
            first (a refused password, a missing path); ``never`` where the source cannot exist (an
            unknown protocol, a device that is not a camera).
        reason: what was wrong, without the source's name; by default the whole message.
    """

    def __init__(self, message: str, *, retry: Retry = "soon", reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = one_line(reason or message)
        self.retry: Retry = retry


class SourceTooLarge(SourceError):
    """Decoding a source needs more memory than there is, or than it may use."""


class ImageError(UsageError):
    """A picture cannot be used; ``reason`` is the machine-readable cause."""

    def __init__(self, message: str, *, reason: RejectReason = "unreadable") -> None:
        super().__init__(message)
        self.reason: RejectReason = reason


class OutputError(UsageError):
    """An output file or folder cannot be written.

    Attributes:
        lost: frames that were taken before and are lost with it.
    """

    def __init__(self, message: str, *, lost: int = 0) -> None:
        super().__init__(message)
        self.lost = lost


class OutputClosed(OutputError):
    """The reader of the output went away, for good."""


class GalleryError(UsageError):
    """The gallery cannot fulfil the request."""


class GalleryCorrupt(GalleryError):
    """The file is not a facestream gallery, or is damaged."""


class ModelMismatch(GalleryError):
    """The gallery's embeddings come from another model than the one in use."""


class PersonNotFound(GalleryError):
    """No person of that name."""


class PersonExists(GalleryError):
    """That name is taken."""


class StageFailed(FacestreamError):
    """The stage or worker ``stage`` raised; the original error is ``__cause__``."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(f"stage '{stage}' failed: {type(cause).__name__}: {cause}")
        self.stage = stage


class StuckThread(FacestreamError):
    """The threads of the names ``threads`` did not end before the deadline."""

    def __init__(self, threads: list[str], seconds: float) -> None:
        super().__init__(f"these threads did not end within {seconds:g} s: {', '.join(threads)}")
        self.threads = threads


class Closed(FacestreamError):
    """The channel is closed and (for readers) empty: the end of the stream, or a stop."""
