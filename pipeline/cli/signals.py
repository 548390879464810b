"""SIGINT and SIGTERM stop a run cleanly; the second one aborts it."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first signal, raise KeyboardInterrupt on the second.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}
    stopped = threading.Event()

    def finish(number: int) -> None:
        stop()
        name = signal.Signals(number).name
        log.warning("%s: stopping and completing the files; once more aborts", name)

    def handle(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        # The handler interrupts the main thread wherever it is, maybe while it holds a lock of
        # the console or the pipeline: another thread takes the message and the stop.
        threading.Thread(target=finish, args=(number,), daemon=True).start()

    for number in signals:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
