"""Every metric of a run: its name, kind, help and labels, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
# Steps of a quarter at most from 20 ms to 2 s, so that quantiles are off by less than that.
_AGES = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.0375, 0.045, 0.055, 0.0675, 0.0825, 0.1, 0.125),
    *(0.15, 0.175, 0.2, 0.225, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2),
    *(1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 60.0),
)
_SIGMAS = (
    *(0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 2.0),
)
_NAMING = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """A metric: its name (Prometheus style), kind, meaning and label names.

    ``buckets`` are the upper bounds of a histogram, ascending; what is larger counts in the
    last, unbounded one.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# Frames

FRAMES_IN = Family("facestream_frames_in_total", "counter", "Frames decoded.", ("source",))
FRAMES_OUT = Family(
    "facestream_frames_out_total", "counter", "Frames fully processed.", ("source",)
)
FRAMES_SKIPPED = Family(
    "facestream_frames_skipped_total",
    "counter",
    "Frames passed over by design (tracking.detect_every).",
    ("source",),
)
FRAMES_DROPPED = Family(
    "facestream_frames_dropped_total",
    "counter",
    "Frames lost before they were processed.",
    ("source", "cause"),
)
OUTPUT_DROPPED = Family(
    "facestream_output_frames_dropped_total",
    "counter",
    "Processed frames that an output (annotated video, live picture) left out.",
    ("source", "output", "cause"),
)
FRAME_AGE = Family(
    "facestream_frame_age_seconds",
    "histogram",
    "Age of a frame when its result is ready, from its arrival.",
    ("source",),
    _AGES,
)

# Faces and people

FACES = Family("facestream_faces_total", "counter", "Faces detected.", ("source",))
SIGMA = Family(
    "facestream_sigma",
    "histogram",
    "Uncertainty of a sighting's fused embedding when it ended.",
    ("source",),
    _SIGMAS,
)
IDENTITIES = Family(
    "facestream_identities_total",
    "counter",
    "Sightings that ended, by outcome (known, unknown) and the reason when unknown.",
    ("source", "outcome", "reason"),
)
TIME_TO_NAME = Family(
    "facestream_time_to_name_seconds",
    "histogram",
    "From the first frame of a face to its name.",
    ("source",),
    _NAMING,
)

# Sources

SOURCE_STATE = Family(
    "facestream_source_state",
    "gauge",
    "1 for the state a source is in, 0 for the states it was in before.",
    ("source", "state"),
)
SOURCE_RESTARTS = Family(
    "facestream_source_restarts_total", "counter", "Times a source was opened again.", ("source",)
)

SOURCE_ERRORS = Family(
    "facestream_source_errors_total",
    "counter",
    "Errors in a source's frames, by the part that raised (decode, convert, detect, recognise).",
    ("source", "part"),
)

# What runs where

ENGINE_INFO = Family(
    "facestream_engine_info",
    "gauge",
    "1 for what runs a network now, 0 for what ran it before.",
    ("network", "backend", "device", "precision"),
)
INDEX_INFO = Family(
    "facestream_index_info",
    "gauge",
    "1 for what searches the gallery now, 0 for what searched it before.",
    ("kind", "device"),
)
DECODER_INFO = Family(
    "facestream_decoder_info",
    "gauge",
    "1 for what decodes a source now, 0 for what decoded it before.",
    ("source", "decoder"),
)
FALLBACKS = Family(
    "facestream_fallbacks_total",
    "counter",
    "Times a part (networks, index, decode) ran elsewhere than it might have, by the class of "
    "the reason.",
    ("part", "reason"),
)

# Stages and queues

STAGE_SECONDS = Family(
    "facestream_stage_seconds", "histogram", "Time of one batch in a stage.", ("stage",), _SECONDS
)
BATCH_FRAMES = Family(
    "facestream_batch_frames", "histogram", "Frames in a stage's batch.", ("stage",), _COUNTS
)
QUEUE_DEPTH = Family("facestream_queue_depth", "gauge", "Items that wait.", ("queue",))
QUEUE_HIGH_WATER = Family(
    "facestream_queue_high_water", "gauge", "Most items that ever waited.", ("queue",)
)
QUEUE_BLOCKED = Family(
    "facestream_queue_blocked_seconds_total",
    "counter",
    "Time producers waited for room.",
    ("queue",),
)
QUEUE_WAITED = Family(
    "facestream_queue_waited_seconds_total",
    "counter",
    "Time consumers waited for an item.",
    ("queue",),
)

# The program

PROCESS_MEMORY = Family(
    "facestream_memory_bytes", "gauge", "Resident memory of this process.", ("kind",)
)
BUILD_INFO = Family(
    "facestream_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "model")
)

FAMILIES: tuple[Family, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Family))
"""All of them."""
