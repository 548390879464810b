"""Waiting for another thread in a test, without timing anything."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds; fails after a time that only a hang takes."""
    tick = threading.Event()
    for _ in range(5000):
        if condition():
            return
        tick.wait(0.002)
    pytest.fail("condition was never met")
