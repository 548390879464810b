"""SIGINT, SIGTERM and SIGHUP stop a run cleanly; a later one aborts it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

REPEAT_SECONDS = 1.0
"""A stop often arrives twice: ``timeout -s INT`` signals the process and its group, and some
terminals and supervisors repeat it. What follows within this time is the same request."""


@contextmanager
def stopping_on_signals(
    stop: Callable[[], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    doing: str = "stopping and completing the files; once more aborts",
) -> Iterator[None]:
    """Call ``stop`` on the first signal, raise KeyboardInterrupt on one that comes later.

    ``doing`` says what follows. Signals within `REPEAT_SECONDS` of the first, by ``clock``, are
    ignored. SIGHUP stays ignored where it was (``nohup``). Outside the main thread, where Python
    allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [number for number in (1, 2) if os.isatty(number)]
    first: float | None = None

    def finish(number: int) -> None:
        stop()
        name = signal.Signals(number).name
        log.warning("%s: %s", name, doing)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if number == signal.SIGHUP:
            _drop_lost(terminals)
        if first is not None:
            if clock() - first < REPEAT_SECONDS:
                return
            raise KeyboardInterrupt
        first = clock()
        # The handler interrupts the main thread wherever it is, maybe while it holds a lock of
        # the console or the pipeline: another thread takes the message and the stop.
        threading.Thread(target=finish, args=(number,), daemon=True).start()

    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drop_lost(terminals: list[int]) -> None:
    """Let output go nowhere whose terminal was closed: a write would fail and end the run."""
    for number in terminals:
        if not os.isatty(number):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
