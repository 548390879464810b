"""How far a build is: TensorRT's ``IProgressMonitor`` to a function."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .flavour import Flavour

Progress = Callable[[str, float], bool | None]
"""Told the phase and the share of it that is done, 0..1, from TensorRT's own threads; returning
False stops the build."""


def watch(flavour: Flavour, config: Any, progress: Progress | None) -> Any:
    """Tell ``progress`` of the outermost phase of the build that is begun with ``config``.

    Returns:
        An object that is to live as long as the build: TensorRT's ends soon after ``stopped`` is
        set (TensorRT-RTX's goes to its end), as it is when ``progress`` wants no more; ``raised``
        holds what ``progress`` raised.
    """

    class Monitor(flavour.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._lock = threading.Lock()
            # TensorRT-RTX 1.7 was seen to end the whole process when a build is broken off (an
            # exception of its own that it does not catch); its builds take a second or two.
            self._breaks_off = flavour.name == "tensorrt"
            self.stopped = False
            self.raised: BaseException | None = None

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not parent:
                with self._lock:
                    self._steps[name] = steps
                self._tell(name, 0.0)

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                steps = self._steps.get(name)
            if steps:
                self._tell(name, min((step + 1) / steps, 1.0))
            return not (self.stopped and self._breaks_off)

        def phase_finish(self, name: str) -> None:
            with self._lock:
                known = self._steps.pop(name, None)
            if known is not None:
                self._tell(name, 1.0)

        def _tell(self, name: str, share: float) -> None:
            if progress is None:
                return
            try:
                if progress(name, share) is False:
                    self.stopped = True
            # TensorRT's own frames, which are between, would swallow it.
            except BaseException as error:  # noqa: BLE001  # raised again after the build
                self.raised = error
                self.stopped = True

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
