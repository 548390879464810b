"""Where a source is opened: in this process, or in one of its own."""

from __future__ import annotations

from ..core.config import RuntimeSettings
from ..metrics.families import DECODERS_LOST
from ..metrics.store import Metrics
from ..sources import Source, SourceOptions, SourceSpec, open_source
from ..sources.process.link import START_SECONDS, Cause, DecoderLimits
from ..sources.process.source import ProcessSource
from ..sources.registry import find_opener


class SourceOpening:
    """Opens sources as ``runtime.isolation`` says, and counts the decoders that are lost.

    A source of another package is opened in this process: it may need anything of it.
    """

    def __init__(self, runtime: RuntimeSettings, metrics: Metrics) -> None:
        self._isolation = runtime.isolation
        self._limits = DecoderLimits(runtime.decoder_memory, runtime.decoder_timeout)
        self._metrics = metrics

    def __call__(self, spec: SourceSpec, options: SourceOptions) -> Source:
        """Raises SourceError: it cannot be opened."""
        if not self.isolates(spec):
            return open_source(spec, options)
        return ProcessSource(spec, options, self._limits, self._lost)

    def isolates(self, spec: SourceSpec) -> bool:
        """Whether this source is decoded in a process of its own."""
        remote = spec.kind in {"url", "camera"}
        if self._isolation == "thread" or (self._isolation == "auto" and not remote):
            return False
        return spec.kind != "url" or find_opener(spec.location) is None

    def start_within(self, spec: SourceSpec) -> float:
        """Seconds that the process of this source may take to start."""
        return START_SECONDS if self.isolates(spec) else 0.0

    def _lost(self, source: str, cause: Cause) -> None:
        self._metrics.add(DECODERS_LOST, source=source, cause=cause)
