"""TensorRT's timing cache: how quick each kernel was on this card, so that builds repeat none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..files import write_atomically

log = logging.getLogger(__name__)


class Timings:
    """The timing cache of one card and version, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lend(self, config: Any) -> None:
        """Give the builder what is known; a file it refuses is begun anew."""
        try:
            known = self._path.read_bytes()
        except FileNotFoundError:
            known = b""
        timings = config.create_timing_cache(known)
        if timings is None or not config.set_timing_cache(timings, False):
            log.warning("the timing cache %s is of another card or damaged: begun anew", self._path)
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def keep(self, config: Any) -> None:
        """Write what the builder knows now."""
        timings = config.get_timing_cache()
        if timings is not None:
            write_atomically(self._path, bytes(timings.serialize()))
