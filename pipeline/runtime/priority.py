"""The priority of threads whose work may take long, so that others are not delayed."""

from __future__ import annotations

import logging
import os
import sys
import threading

log = logging.getLogger(__name__)

NICE = 5
"""Against a thread of usual priority it gets a quarter of a processor, and all of an idle one."""


def yield_to_other_threads() -> bool:
    """Lower the priority of this thread and of those it starts; False where that is impossible.

    On Linux each thread has a priority of its own. It cannot be raised again.
    """
    if not sys.platform.startswith("linux"):
        return False
    thread = threading.get_native_id()
    try:
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, now + NICE))
    except OSError as error:
        log.debug("the priority of a thread stays: %s", error)
        return False
    return True
