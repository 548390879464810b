"""What FFmpeg reads over HTTP: it gets bytes, and never opens a connection of its own.

FFmpeg would follow redirects and playlists to any host, and to local files.
"""

from __future__ import annotations

import errno
import logging
import os
import time
import weakref

import av

from ..core.errors import SourceError
from .http_client import REFUSALS, HttpAnswer, HttpClient

log = logging.getLogger(__name__)

# Some encoders announce a length that a live stream never reaches.
LARGEST_FILE = 1 << 40
# An MP4 of up to so many bytes, with its index at the end, is fetched twice where the server sends
# no parts. Not others: FFmpeg would look for a second index at the end of each.
LARGEST_TWICE = 64 << 20
_REWINDS = 3


class HttpFile:
    """A body over HTTP, as a file for PyAV; where the server sends parts, it can be sought."""

    def __init__(self, client: HttpClient, answer: HttpAnswer | None, *, start: int = 0) -> None:
        self.name = "" if answer is None else answer.url
        self._client = client
        self._answer = answer
        self._at = start
        self._asked_at = start  # where the answer's next byte lies
        length = None if answer is None else answer.length
        self._end = start + length if length is not None and length < LARGEST_FILE else None
        self._parts = answer is not None and answer.ranges
        self._rewinds = 0
        twice = answer is not None and (self._end or 0) <= LARGEST_TWICE and _index_last(answer)
        self._sought = self._end is not None and (self._parts or twice)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._sought

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes; none at the end.

        Raises:
            av.error.FFmpegError: the connection broke, or nothing arrived for too long.
        """
        try:
            answer = self._positioned()
            found = b"" if answer is None else answer.read(size)
        except SourceError as error:
            why = error.reason.removeprefix("the connection was lost: ")
            raise av.error.FFmpegError(errno.EIO, why) from None
        self._at += len(found)
        self._asked_at = self._at
        early = self._end is not None and self._at < self._end
        if not found and early and answer is not None and not answer.halted:
            why = f"it ended after {self._at} of {self._end} bytes"
            raise av.error.FFmpegError(errno.EIO, why)
        return found

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new place; the server is asked when it is read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end or 0}[whence]
        self._at = max(0, base + offset)
        return self._at

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def _positioned(self) -> HttpAnswer | None:
        if self._answer is None or self._asked_at == self._at:
            return self._answer
        if self._end is not None and self._at >= self._end:
            return None
        if self._parts:
            self._answer.close()
            self._answer = self._client.get(self.name, start=self._at)
            self._asked_at = self._at
        elif self._at < self._asked_at:
            self._rewinds += 1
            self._answer.close()
            self._answer = self._client.get(self.name)
            self._asked_at = 0
        if (self._parts and not self._answer.partial) or self._rewinds > _REWINDS:
            raise SourceError("the server sends no parts", reason="the server sends no parts")
        while self._asked_at < self._at:
            passed = self._answer.read(min(self._at - self._asked_at, 1 << 16))
            if not passed:
                return None
            self._asked_at += len(passed)
        return self._answer


def _index_last(answer: HttpAnswer) -> bool:
    """Whether it is an MP4 that begins with its pictures."""
    start = answer.peek()
    pictures, index = start.find(b"mdat"), start.find(b"moov")
    return start[4:8] == b"ftyp" and pictures >= 0 and not 0 <= index < pictures


class HttpFiles:
    """Opens what FFmpeg asks for (``io_open`` of ``av.open``): the answer, then what it names.

    A part of a playlist that cannot be had is empty: FFmpeg goes on with the next.

    Args:
        answer: to the source's own URL; the first that FFmpeg opens.
        seconds: until `opened`; FFmpeg would ask without an end for playlists that name themselves.
    """

    def __init__(
        self, client: HttpClient, answer: HttpAnswer, *, name: str, seconds: float
    ) -> None:
        self._client = client
        self._first: HttpFile | None = HttpFile(client, answer)
        self._name = name
        self._seconds = seconds
        self._until: float | None = time.monotonic() + seconds
        self._open = weakref.WeakSet([self._first])

    def opened(self) -> None:
        """FFmpeg knows what it is: from now on parts have the time that they need."""
        self._until = None

    def close(self) -> None:
        """Close what FFmpeg leaves open."""
        for file in list(self._open):
            file.close()

    def __call__(self, url: str, flags: int, options: dict[str, str]) -> HttpFile:
        first, self._first = self._first, None
        file = first or self._part(url, options)
        self._open.add(file)
        return file

    def _part(self, url: str, options: dict[str, str]) -> HttpFile:
        if self._until is not None and time.monotonic() > self._until:
            why = f"no picture within {self._seconds:g} s; its playlist may lead in a circle"
            raise SourceError(f"cannot open {self._name}: {why}", retry="slowly", reason=why)
        scheme = url.partition(":")[0].lower()
        if scheme not in {"http", "https"}:
            kind = "an encrypted part" if scheme.startswith("crypto") else f"{scheme[:20]!r}"
            why = f"its playlist refers to {kind}; only http and https are read"
            raise SourceError(f"cannot read {self._name}: {why}", retry="slowly", reason=why)
        start = int(options.get("offset", 0))
        try:
            answer = self._client.get(url, start=start or None)
        except SourceError as error:
            if error.retry != "soon" and error.reason not in REFUSALS.values():
                raise
            log.debug("%s: a part cannot be read: %s", self._name, error.reason)
            return HttpFile(self._client, None)
        return HttpFile(self._client, answer if answer.partial or not start else None, start=start)
