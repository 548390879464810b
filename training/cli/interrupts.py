"""Ctrl-C that cannot get lost.

A KeyboardInterrupt that is raised while native code calls back into Python (a network that is being
loaded, say) can be swallowed there. It is therefore remembered, and raised again at the next sign
of progress.
"""

from __future__ import annotations

import signal
from types import FrameType

_seen = False


def listen() -> None:
    """Remember Ctrl-C from now on; leaves it alone where whoever started us ignores it."""
    global _seen
    _seen = False
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def check() -> None:
    """Stop here if Ctrl-C was pressed.

    Raises:
        KeyboardInterrupt: it was.
    """
    if _seen:
        raise KeyboardInterrupt


def _interrupted(number: int, frame: FrameType | None) -> None:
    global _seen
    _seen = True
    raise KeyboardInterrupt
