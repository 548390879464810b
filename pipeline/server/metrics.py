"""Metrics of the service itself; those of the cameras are the run's."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServiceMetrics:
    """Counts requests and clients, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "facestream_http_requests_total",
            "Requests by route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.faces = Counter(
            "facestream_http_faces_total",
            "Faces examined in pictures of requests.",
            registry=self.registry,
        )
        self.listeners = Gauge(
            "facestream_http_listeners",
            "Clients that listen to events or watch a camera.",
            registry=self.registry,
        )
        self.slow = Counter(
            "facestream_http_slow_listeners_total",
            "Clients that were disconnected because they read events too slowly.",
            registry=self.registry,
        )

    def text(self, run: CollectorRegistry | None) -> bytes:
        """The exposition, with the metrics of the run of the cameras where there is one."""
        parts = [self.registry] if run is None else [self.registry, run]
        return b"".join(generate_latest(part) for part in parts)
