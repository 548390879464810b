"""A window for each source."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Mapping

import cv2

from ..core.errors import UsageError
from ..core.types import FrameResult
from .base import Needs, Sink
from .video.overlay import draw_tracks

LEAST_SECONDS = 1 / 30
"""Shorter than this a window does not show a frame: the pipeline would wait for the screen."""
_QUIT = (ord("q"), ord("Q"), 27)


class WindowSink(Sink):
    """Shows frames with boxes and names; q or Esc asks for the end.

    All calls must come from the main thread, as windows want it. Import ``cv2`` before the
    pipeline: windows hang where PyAV's libraries were loaded before OpenCV's.

    Args:
        environment: where the display is looked up, e.g. ``os.environ``.

    Raises:
        UsageError: there is no display, or this OpenCV has no windows.
    """

    needs: Needs = "all"
    output = "show"

    def __init__(self, environment: Mapping[str, str]) -> None:
        gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
        if gui is None or gui[1] == "NONE":
            raise UsageError(
                "--show needs an OpenCV with windows: pip uninstall opencv-python-headless, then "
                "pip install 'facestream[show]'; without a display use --restream"
            )
        if sys.platform == "linux" and not (
            environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
        ):
            raise UsageError("--show needs a display and there is none; use --restream :8080")
        self.on_quit: Callable[[], None] | None = None
        self._shown: dict[str, float] = {}

    def write(self, result: FrameResult) -> None:
        source, now = result.frame.source, time.monotonic()
        if now - self._shown.get(source, 0.0) >= LEAST_SECONDS:
            self._show(result)
            self._shown[source] = now
        if cv2.waitKey(1) & 0xFF in _QUIT and self.on_quit is not None:
            self.on_quit()

    def source_ended(self, source: str) -> None:
        if self._shown.pop(source, None) is not None:
            with contextlib.suppress(cv2.error):  # closed by hand
                cv2.destroyWindow(source)

    def close(self) -> None:
        if self._shown:
            cv2.destroyAllWindows()

    def _show(self, result: FrameResult) -> None:
        source = result.frame.source
        canvas = result.frame.image.copy()
        draw_tracks(canvas, result.tracks)
        if source not in self._shown:
            cv2.namedWindow(source, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(source, canvas.shape[1], canvas.shape[0])
        cv2.imshow(source, canvas)
