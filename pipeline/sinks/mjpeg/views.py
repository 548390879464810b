"""The newest picture of each source, for whoever watches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import cv2
import numpy as np

from ...core.events import State
from ...core.types import FrameResult, Image
from ..video.overlay import draw_tracks

QUALITY = 80


class View:
    """One source: its newest frame, made into a JPEG only when it is asked for.

    Args:
        name: of the source.
        label: what its addresses are made of.
    """

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label
        self.state: State | None = None
        self.encoded = 0
        self._lock = threading.Lock()
        self._latest: FrameResult | None = None
        self._number = 0
        self._jpeg: tuple[int, bytes] | None = None
        self._ended = False
        self._watchers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def offer(self, result: FrameResult) -> None:
        """A newer frame; returns at once. From any thread."""
        with self._lock:
            self._latest = result
            self._number += 1
            self._ended = False
        self._wake()

    def end(self) -> None:
        """No more frames: those who watch are told so."""
        self._ended = True
        self._wake()

    @property
    def number(self) -> int:
        """How many frames were offered so far."""
        return self._number

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def jpeg(self) -> bytes | None:
        """The newest frame with boxes and names; None before the first. Encoded once for all."""
        with self._lock:
            latest, number, made = self._latest, self._number, self._jpeg
            if latest is None:
                return None
            if made is None or made[0] != number:
                canvas = latest.frame.image.copy()
                draw_tracks(canvas, latest.tracks)
                data = _encode(canvas)
                self.encoded += 1
                made = self._jpeg = (number, data)
            return made[1]

    async def watch(self) -> AsyncIterator[bytes]:
        """JPEGs from now on, each the newest there is; a slow reader misses those between."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        watcher = (loop, event)
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


def _encode(image: Image) -> bytes:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return np.asarray(data).tobytes()
