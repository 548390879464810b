"""The priority of threads whose work may take long, so that others are not delayed."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Undo what a library does in this block to how Linux schedules this thread and new ones.

    SVT-AV1 makes its caller and its own threads real-time where the process belongs to root, and
    the caller's later threads inherit that: on few processors nothing else runs any more.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in {threading.get_native_id()} | (_threads() - before):
            with suppress(OSError):  # it has ended
                if os.sched_getscheduler(thread) != policy:
                    os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(place.name) for place in Path("/proc/self/task").iterdir()}
