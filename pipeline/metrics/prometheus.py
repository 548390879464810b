"""A run's metrics over HTTP, in the format that Prometheus scrapes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import accumulate, groupby

from facestream.engines.closing import Closing
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..core.addresses import Address
from ..core.errors import OutputError
from .families import FAMILIES, Family
from .store import Histogram, Metrics, Sample

log = logging.getLogger(__name__)


class MetricsCollector(Collector):
    """Turns a snapshot of a run's metrics into Prometheus' own objects, for each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Every family, also those that have no value yet."""
        samples = self._metrics.snapshot()
        found = {family: list(group) for family, group in groupby(samples, key=lambda s: s.family)}
        for family in dict.fromkeys((*FAMILIES, *found)):
            yield _metric(family, found.get(family, []))


class MetricsServer(Closing):
    """Serves the metrics of a run at ``http://HOST:PORT/metrics`` until it is closed.

    Raises:
        OutputError: the address cannot be used.
    """

    def __init__(self, metrics: Metrics, address: Address) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(MetricsCollector(metrics))
        try:
            self._server, self._thread = start_http_server(
                address.port, addr=address.host, registry=registry
            )
        except OSError as error:
            raise OutputError(
                f"cannot serve metrics at {address}: {error.strerror}; choose another address"
            ) from error
        self.address = Address(address.host, self._server.server_port)
        log.info("metrics at http://%s/metrics", self.address)

    def close(self) -> None:
        """Stop serving; may be repeated."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _metric(family: Family, samples: list[Sample]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for sample in samples:
            if isinstance(sample.value, Histogram):
                histogram.add_metric(
                    _labels(sample), _cumulative(sample.value), sum_value=sample.value.total
                )
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for sample in samples:
        if not isinstance(sample.value, Histogram):
            metric.add_metric(_labels(sample), sample.value)
    return metric


def _labels(sample: Sample) -> list[str]:
    return [value for _, value in sample.labels]


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.buckets), strict=True))
