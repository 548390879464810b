"""The one place where FFmpeg opens something to read."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import av
from av.container import InputContainer

from ..core.errors import SourceError
from .allowed import Allowed
from .decode import reason
from .hardware import Decoding

log = logging.getLogger(__name__)

# Tags that are not UTF-8 must not stop a video; PyAV from version 19 on handles them itself.
_METADATA: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)
_FORMAT = "it is of a kind that is not read here (a playlist, or no video); give a video"


@dataclass(frozen=True, slots=True)
class Opening:
    """What FFmpeg opens, and how; can be pickled.

    Attributes:
        allowed: what it may use for that.
        decoding: what decodes.
        name: of the source, for messages.
        format: the demuxer; None: found by content.
        options: of protocols and demuxers; those that do not apply are ignored.
        timeout: seconds for opening and for reading; None: without limit.
    """

    allowed: Allowed
    decoding: Decoding
    name: str
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    timeout: tuple[float, float] | None = None


def open_container(
    location: Any, opening: Opening, *, io_open: Callable[..., Any] | None = None
) -> InputContainer:
    """``av.open`` for reading, with the hardware that decodes.

    Args:
        location: a URL, a path after ``file:``, or a file object.
        io_open: opens what FFmpeg reads instead of FFmpeg itself.

    Raises:
        av.error.FFmpegError: it cannot be opened, or its format is not allowed.
        SourceError: the hardware cannot be opened, and the CPU may not decode.
    """
    accelerator = opening.decoding.accelerator()
    arguments: dict[str, Any] = {
        "mode": "r",
        "format": opening.format,
        "options": {**opening.options, **opening.allowed.options()},
        "timeout": opening.timeout,
        "io_open": io_open,
        **_METADATA,
    }
    container: InputContainer
    try:
        container = av.open(location, hwaccel=accelerator, **arguments)
    except av.error.FFmpegError as error:
        if error.errno == errno.EINVAL:
            raise av.error.InvalidDataError(error.errno, _FORMAT, error.filename) from None
        # PyAV's error names the location, unless it is the device that cannot be opened.
        if accelerator is None or error.filename:
            raise
        why = f"decoding by {opening.decoding.decoder} failed: {reason(error)}"
        if opening.decoding.required or not isinstance(location, str) or io_open is not None:
            why += "; use --decode cpu"
            raise SourceError(f"{opening.name}: {why}", retry="slowly", reason=why) from None
        log.warning("%s: %s", opening.name, why)
        container = av.open(location, **arguments)
    return container
