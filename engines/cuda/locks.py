"""What one thread of the process does at a time on CUDA devices."""

from __future__ import annotations

import threading

process_lock = threading.RLock()
"""Held for a capture, and for what else belongs to the whole process (cuDNN's flags in torch).

A capture of one thread forbids the others to wait for the whole device, which torch does before
each of its own; either of them would fail.
"""
