"""A stream on standard input: MPEG-TS, Matroska, or another format that needs no seeking."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

import av
from av.container import InputContainer

from ..core.errors import SourceError
from .allowed import PIPE
from .base import DEFAULTS, SourceOptions, SourceSpec
from .decode import reason
from .opening import Opening, open_container
from .stream import StreamSource

_CHECK_EVERY = 0.1  # seconds between two checks whether a silent pipe was halted


class StdinSource(StreamSource):
    """A stream that another program pipes in; read like a file, so that nothing is dropped.

    The pipe may be silent for any time, also while it is opened; ``options.halt`` ends that at
    once. The file ``descriptor`` is not closed.

    Raises:
        SourceError: it is a terminal, is empty, or holds no video; never retried.
    """

    piped = True

    def __init__(
        self, spec: SourceSpec, options: SourceOptions = DEFAULTS, *, descriptor: int = 0
    ) -> None:
        container = _open(spec.name, options, descriptor)
        try:
            super().__init__(spec, options, container)
        except SourceError as error:
            raise SourceError(str(error), retry="never", reason=error.reason) from None

    def _broke_off(self, error: av.error.FFmpegError) -> None:
        self._problems.append(f"{self.name} broke off after {self.decoded} frames: {reason(error)}")


class _Pipe:
    """The file that PyAV reads: it ends when the writer closes it or reading is halted."""

    name = "stdin"

    def __init__(self, descriptor: int, halted: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._halted = halted
        self.bytes = 0

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not self._halted():
            if select.select([self._descriptor], [], [], _CHECK_EVERY)[0]:
                found = os.read(self._descriptor, size)
                self.bytes += len(found)
                return found
        return b""


def _open(name: str, options: SourceOptions, descriptor: int) -> InputContainer:
    try:
        terminal = os.isatty(descriptor)
        os.fstat(descriptor)
    except OSError:
        raise SourceError(f"{name} is closed; pipe a video into it", retry="never") from None
    if terminal:
        raise SourceError(
            f"{name} is a terminal; pipe a video into it (MPEG-TS or Matroska)", retry="never"
        )
    halt = options.halt
    pipe = _Pipe(descriptor, lambda: halt is not None and halt.is_set())
    try:
        # The first picture soon: another program may write at the pace of a camera.
        probing = {"fpsprobesize": "0", "analyzeduration": "1000000"}
        return open_container(pipe, Opening(PIPE, options.decoding, name, options=probing))
    except (av.error.FFmpegError, ValueError) as error:
        why = reason(error) if pipe.bytes else "it is empty"
        why += "; pipe a video into it (MPEG-TS or Matroska)"
        raise SourceError(f"cannot read {name}: {why}", retry="never", reason=why) from None
