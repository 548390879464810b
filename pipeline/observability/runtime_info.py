"""What runs a pipeline: its networks, index and decoders, in one line and as metrics.

Nothing is chosen here, and nothing is kept: engines are replaced while they run, galleries grow,
hardware decoders fail.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from facestream.engines.base import Engine
from facestream.engines.devices import driver_report
from facestream.engines.errors import EngineError
from facestream.engines.index import DEFAULT_OPTIONS, IndexInfo, IndexOptions
from facestream.engines.options import Serving

from ..core.errors import FacestreamError
from ..metrics.families import DECODER_INFO, ENGINE_INFO, FALLBACKS, INDEX_INFO, Family
from ..metrics.store import Metrics
from ..sources import DecodedBy, Decoding, FallbackReason

log = logging.getLogger(__name__)


class RuntimeInfo:
    """The networks, index and decoders that run.

    Args:
        engines: of the networks, by name.
        index: describes the index; None without a gallery.
        decoding: the decoder chosen; None where there is no video.
        serving: the settings of the engines.
        searching: the settings of the index.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        *,
        index: Callable[[], IndexInfo] | None = None,
        decoding: Decoding | None = None,
        serving: Serving = Serving(),
        searching: IndexOptions = DEFAULT_OPTIONS,
    ) -> None:
        self._engines = engines
        self._index = index
        self._decoding = decoding
        self._serving = serving
        self._searching = searching

    def line(self) -> str:
        """All of it in one line: e.g. ``networks: openvino on CPU, bfloat16 (…); decode: cpu``."""
        parts = [f"networks: {self._networks()}{_because(self._why_networks())}"]
        if self._index is not None:
            index = self._index()
            parts.append(f"index: {index.kind} on {index.device}{_because(index.reason)}")
        if self._decoding is not None:
            parts.append(f"decode: {self._decoding.decoder}{_because(self._decoding.reason)}")
        return "; ".join(parts)

    def _networks(self) -> str:
        """The engines, grouped by place and precision; the detector's screens are left out."""
        places: dict[tuple[str, str], dict[str, list[str]]] = {}
        for name, engine in self._engines.items():
            if not name.endswith("_screen"):
                precisions = places.setdefault((engine.backend, engine.device), {})
                precisions.setdefault(engine.precision, []).append(_kin(name))
        parts = []
        for (backend, device), precisions in places.items():
            alike = len(places) == len(precisions) == 1
            what = ", ".join(
                precision if alike else f"{' and '.join(dict.fromkeys(kin))} {precision}"
                for precision, kin in precisions.items()
            )
            parts.append(f"{backend} on {device}, {what}")
        return " and ".join(parts)

    def _why_networks(self) -> str:
        asked = self._serving
        if asked.backend != "auto" or asked.device != "auto":
            return "asked for"
        reasons = [getattr(engine, "reason", "") for engine in self._engines.values()]
        given = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        if given or any("cuda" in engine.device for engine in self._engines.values()):
            return given
        return driver_report().problem or ""

    def facts(self) -> Iterator[tuple[Family, str, dict[str, str]]]:
        """For the metrics: the family, its subject, and its labels now."""
        for name, engine in self._engines.items():
            labels = {
                "network": name,
                "backend": engine.backend,
                "device": engine.device,
                "precision": engine.precision,
            }
            yield ENGINE_INFO, name, labels
        if self._index is not None:
            index = self._index()
            yield INDEX_INFO, "", {"kind": index.kind, "device": index.device}

    def stayed(self) -> set[str]:
        """Networks whose better engine could not be built or was refused."""
        return {
            name
            for name, engine in self._engines.items()
            if getattr(engine, "state", None) == "stayed"
        }

    def index_fallback(self) -> bool:
        """There is a CUDA device, and the search does not use it although it may."""
        if self._index is None or self._searching.kind != "auto" or not driver_report().devices:
            return False
        index = self._index()
        return index.kind != "none" and "cuda" not in index.device

    @property
    def decode_fallback(self) -> bool:
        """The CPU decodes although there is hardware that should."""
        return self._decoding is not None and self._decoding.fallback

    @property
    def network_fallback(self) -> bool:
        """There is a CUDA device, and some network does not use it although it may."""
        if self._serving.device == "cpu" or self._serving.backend == "openvino":
            return False
        elsewhere = any(
            "cuda" not in engine.device and getattr(engine, "state", None) != "building"
            for engine in self._engines.values()
        )
        return elsewhere and bool(driver_report().devices)


class RuntimeInfoMetrics:
    """Keeps the info metrics up to date: 1 for what runs now, 0 for what ran before.

    Args:
        metrics: calls `refresh` before each scrape.
        running: of the pipeline.
    """

    def __init__(self, metrics: Metrics, running: RuntimeInfo) -> None:
        self._metrics = metrics
        self._running = running
        self._lock = threading.Lock()
        self._counted: set[str] = set()
        self._ones: dict[tuple[Family, str], Mapping[str, str]] = {}
        metrics.refresh_with(self.refresh)
        if running.network_fallback:
            metrics.add(FALLBACKS, part="networks", reason="unavailable")
        if running.decode_fallback:
            metrics.add(FALLBACKS, part="decode", reason="unavailable")

    def refresh(self) -> None:
        """Update the gauges; those of an index that cannot be read now stay as they are."""
        try:
            for family, key, labels in self._running.facts():
                self._one(family, key, labels)
            if self._running.index_fallback():
                self._count_once("index", "index", "unavailable")
        except (FacestreamError, EngineError) as error:
            log.debug("the index cannot be described: %s", error)
        for network in self._running.stayed():
            self._count_once(network, "networks", "failed")

    def decoder(self, source: str, decoder: DecodedBy, fallback: FallbackReason | None) -> None:
        """See ``SourceOptions.on_decoder``."""
        self._one(DECODER_INFO, source, {"source": source, "decoder": decoder})
        if fallback is not None:
            self._metrics.add(FALLBACKS, part="decode", reason=fallback)

    def _count_once(self, what: str, part: str, reason: str) -> None:
        with self._lock:
            if what in self._counted:
                return
            self._counted.add(what)
        self._metrics.add(FALLBACKS, part=part, reason=reason)

    def _one(self, family: Family, key: str, labels: Mapping[str, str]) -> None:
        with self._lock:
            before = self._ones.get((family, key))
            if before == labels:
                return
            self._ones[family, key] = labels
            if before is not None:
                self._metrics.set(family, 0, **before)
            self._metrics.set(family, 1, **labels)


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _kin(network: str) -> str:
    return "detector" if network.startswith("mtcnn_") else "encoder"
