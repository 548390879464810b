"""The newest picture of each source, for all viewers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import cv2
import numpy as np

from ...core.events import State
from ...core.types import FrameResult
from ..video.overlay import draw_tracks

QUALITY = 80


class LiveView:
    """One source's newest frame, encoded as JPEG on request; ``label`` names it in addresses."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.state: State | None = None
        self.encoded = 0
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._latest: FrameResult | None = None
        self._number = 0
        self._offered = 0.0
        self._jpeg: tuple[int, bytes] | None = None
        self._ended = False
        self._watchers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def offer(self, result: FrameResult) -> None:
        """A newer frame; returns at once. From any thread."""
        with self._lock:
            self._latest = result
            self._number += 1
            self._offered = time.monotonic()
            self._ended = False
        self._wake()

    def end(self) -> None:
        """No more frames; all streams of this source end."""
        self._ended = True
        self._wake()

    @property
    def number(self) -> int:
        """How many frames were offered so far."""
        return self._number

    @property
    def age(self) -> float | None:
        """Seconds since the newest frame was offered; None before the first."""
        with self._lock:
            return time.monotonic() - self._offered if self._number else None

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def jpeg(self) -> bytes | None:
        """The newest frame with boxes and names; None before the first.

        It is drawn and encoded in the calling thread, once for all callers; a newer frame can be
        offered meanwhile.
        """
        with self._encoding:
            with self._lock:
                latest, number = self._latest, self._number
            if latest is None:
                return None
            if self._jpeg is None or self._jpeg[0] != number:
                canvas = latest.frame.image.copy()
                draw_tracks(canvas, latest.tracks)
                _, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                self._jpeg = (number, np.asarray(data).tobytes())
                self.encoded += 1
            return self._jpeg[1]

    async def watch(self) -> AsyncIterator[bytes]:
        """JPEGs from now on, each the newest there is; a slow reader misses those between."""
        event = asyncio.Event()
        watcher = (asyncio.get_running_loop(), event)
        self._watchers.add(watcher)
        try:
            shown = -1
            while True:
                if self._number > max(shown, 0):
                    shown = self._number
                    data = await asyncio.to_thread(self.jpeg)
                    if data is not None:
                        yield data
                if self._ended:
                    return
                if self._number == shown or not self._number:
                    await event.wait()
                event.clear()
        finally:
            self._watchers.discard(watcher)

    def _wake(self) -> None:
        for loop, event in list(self._watchers):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the server has ended
                self._watchers.discard((loop, event))
