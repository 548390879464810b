"""An error in the frames of one source does not end the others.

Stages and readers handle one source's frames through a `SourceIsolation`. An error there is counted
and logged, and costs its frame; a source that fails repeatedly is parked. Engines, the gallery,
sinks and the disk serve all sources: their errors end the run.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar, TypeVarTuple

from ..core.errors import SourceError
from ..core.redact import without_urls
from ..metrics.families import FRAMES_DROPPED, SOURCE_ERRORS
from ..metrics.store import Metrics

if TYPE_CHECKING:
    from .file_reader import SourceState

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")
Args = TypeVarTuple("Args")
Part = Literal["decode", "convert", "detect", "recognise"]
"""The step that failed."""

PARK_AFTER = 5
"""Errors in a row, in one part, after which a source is parked."""


class SourceIsolation:
    """Runs what handles one source's frames. May be used from several threads.

    Args:
        metrics: counts errors and lost frames.
        fatal: errors that end the run, by default all. A `SourceError` never does.
    """

    def __init__(
        self, metrics: Metrics | None = None, *, fatal: tuple[type[Exception], ...] = (Exception,)
    ) -> None:
        self._metrics = metrics or Metrics()
        self._fatal = fatal
        self._lock = threading.Lock()
        self._states: dict[str, SourceState] = {}
        self._failures: dict[tuple[str, Part], int] = {}  # in a row
        self._warned: set[tuple[str, Part]] = set()
        self._parked: set[str] = set()

    def watch(self, states: Iterable[SourceState]) -> None:
        """Count the lost frames of these sources, and park them when they fail repeatedly."""
        self._states.update((state.name, state) for state in states)

    def call(
        self, source: str, part: Part, function: Callable[[*Args], Out], *args: *Args
    ) -> Out | None:
        """The function's result for one frame; None when it failed, or the source is parked.

        Raises:
            Exception: what is fatal.
        """
        if source in self._parked:
            return None
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - raised again by failed() where it is fatal
            self.failed(source, part, error)
            return None

    def call_each(
        self,
        part: Part,
        function: Callable[[Sequence[In]], Sequence[Out]],
        items: Sequence[In],
        *,
        source: Callable[[In], str],
    ) -> list[Out | None]:
        """One result for each item, all in one call; item by item where that fails.

        ``function`` is called again after an error, so it must change nothing before it returns.

        Raises:
            Exception: what is fatal.
        """
        if len(items) != 1:
            try:
                return list(function(items))
            except self._fatal:
                raise
            except Exception as error:  # noqa: BLE001 - the item that raises is found below
                log.debug("error in %s of %d frames, tried one by one: %s", part, len(items), error)
        return [
            found[0] if found else None
            for item in items
            for found in [self.call(source(item), part, function, [item])]
        ]

    def clean_up(self, source: str, part: Part, function: Callable[[], object]) -> None:
        """Run what ends a source's state, also of a parked one; an error there is counted only.

        Raises:
            Exception: what is fatal.
        """
        try:
            function()
        except self._fatal:
            raise
        except Exception as error:  # noqa: BLE001 - counted
            self._report(source, part, error)

    def succeeded(self, source: str, part: Part) -> None:
        """Count the next error in this part as the first in a row."""
        if self._failures:
            with self._lock:
                self._failures.pop((source, part), None)

    def failed(
        self, source: str, part: Part, error: BaseException, *, logger: logging.Logger = log
    ) -> str:
        """Count and log an error of this source; the `PARK_AFTER`-th in a row parks it.

        Returns:
            The error without credentials.

        Raises:
            BaseException: the error, where it is fatal.
        """
        fatal = isinstance(error, self._fatal) and not isinstance(error, SourceError)
        if fatal or not isinstance(error, Exception):
            raise error
        text = self._report(source, part, error, logger)
        with self._lock:
            failures = self._failures.get((source, part), 0) + 1
            self._failures[source, part] = failures
            park = failures >= PARK_AFTER and source not in self._parked
            if park:
                self._parked.add(source)
        if park:
            reason = f"given up after {failures} errors in a row in {part}, the last: {text}"
            log.error("%s: %s", source, reason)
            if source in self._states:
                self._states[source].park(reason)
        return text

    def lost(self, source: str, *, cause: Literal["corrupt", "failed"] = "failed") -> None:
        """Count a frame of this source that is not passed on."""
        self._metrics.add(FRAMES_DROPPED, source=source, cause=cause)
        state = self._states.get(source)
        if state is not None:
            with self._lock:
                state.lost += 1

    def _report(
        self, source: str, part: Part, error: Exception, logger: logging.Logger = log
    ) -> str:
        text = without_urls(f"{type(error).__name__}: {error}")
        self._metrics.add(SOURCE_ERRORS, source=source, part=part)
        with self._lock:
            first = (source, part) not in self._warned
            self._warned.add((source, part))
        if first:
            logger.warning("%s: error in %s: %s", source, part, text)
        trace = without_urls("".join(traceback.format_exception(error)).rstrip())
        log.debug("%s: error in %s\n%s", source, part, trace)
        return text
