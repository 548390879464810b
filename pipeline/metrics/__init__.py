"""Counters, gauges and histograms of a run, in the shape a Prometheus exporter reads.

Families are declared in `families`, once, with their labels; `Metrics` holds the values.
"""

from __future__ import annotations

from .families import (
    BATCH_FRAMES,
    BUILD_INFO,
    FACES,
    FAMILIES,
    FRAME_AGE,
    FRAMES_DROPPED,
    FRAMES_IN,
    FRAMES_OUT,
    FRAMES_SKIPPED,
    IDENTITIES,
    OUTPUT_DROPPED,
    PROCESS_MEMORY,
    QUEUE_BLOCKED,
    QUEUE_DEPTH,
    QUEUE_HIGH_WATER,
    QUEUE_WAITED,
    SIGMA,
    SOURCE_RESTARTS,
    SOURCE_STATE,
    STAGE_SECONDS,
    TIME_TO_NAME,
    Family,
    Kind,
)
from .memory import memory_bytes, peak_memory_bytes
from .store import Histogram, Labels, Metrics, Sample, limiting_queue

__all__ = [
    "BATCH_FRAMES",
    "BUILD_INFO",
    "FACES",
    "FAMILIES",
    "FRAMES_DROPPED",
    "FRAMES_IN",
    "FRAMES_OUT",
    "FRAMES_SKIPPED",
    "FRAME_AGE",
    "IDENTITIES",
    "OUTPUT_DROPPED",
    "PROCESS_MEMORY",
    "QUEUE_BLOCKED",
    "QUEUE_DEPTH",
    "QUEUE_HIGH_WATER",
    "QUEUE_WAITED",
    "SIGMA",
    "SOURCE_RESTARTS",
    "SOURCE_STATE",
    "STAGE_SECONDS",
    "TIME_TO_NAME",
    "Family",
    "Histogram",
    "Kind",
    "Labels",
    "Metrics",
    "Sample",
    "limiting_queue",
    "memory_bytes",
    "peak_memory_bytes",
]
