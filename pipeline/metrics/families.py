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

    ``buckets`` are a histogram's upper bounds, ascending; a last, unbounded one follows.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, labels: str, help_text: str) -> Family:
    return Family(name, "counter", help_text, tuple(labels.split()))


def _gauge(name: str, labels: str, help_text: str) -> Family:
    return Family(name, "gauge", help_text, tuple(labels.split()))


def _histogram(name: str, labels: str, help_text: str, buckets: tuple[float, ...]) -> Family:
    return Family(name, "histogram", help_text, tuple(labels.split()), buckets)


# Frames
FRAMES_IN = _counter("facestream_frames_in_total", "source", "Frames decoded.")
FRAMES_OUT = _counter("facestream_frames_out_total", "source", "Frames fully processed.")
FRAMES_SKIPPED = _counter(
    "facestream_frames_skipped_total",
    "source",
    "Frames passed over by design (tracking.detect_every).",
)
FRAMES_DROPPED = _counter(
    "facestream_frames_dropped_total", "source cause", "Frames lost before they were processed."
)
OUTPUT_DROPPED = _counter(
    "facestream_output_frames_dropped_total",
    "source output cause",
    "Processed frames that an output (annotated video, live picture) left out.",
)
OUTPUT_SCALED = _counter(
    "facestream_output_frames_scaled_total",
    "source output",
    "Frames that were scaled into a video of another size.",
)
OUTPUT_DEGRADED = _gauge(
    "facestream_output_degraded", "output", "1 while an output of a live run fails, else 0."
)
OUTPUT_ERRORS = _counter(
    "facestream_output_errors_total", "output cause", "Failed attempts to write an output."
)
OUTPUT_LOST = _counter(
    "facestream_output_lost_total",
    "output item cause",
    "Events, pictures and frames that an output of a live run could not write.",
)
FRAME_AGE = _histogram(
    "facestream_frame_age_seconds",
    "source",
    "Age of a frame when its result is ready, from its arrival.",
    _AGES,
)

# Faces and people

FACES = _counter("facestream_faces_total", "source", "Faces detected.")
FACES_LEFT_OUT = _counter(
    "facestream_faces_left_out_total",
    "source cause",
    "Faces that a limit left out: not tracked (faces, tracks), or not embedded (rate, busy).",
)
SIGMA = _histogram(
    "facestream_sigma",
    "source",
    "Uncertainty of a sighting's fused embedding when it ended.",
    _SIGMAS,
)
IDENTITIES = _counter(
    "facestream_identities_total",
    "source outcome reason",
    "Sightings that ended, by outcome (known, unknown) and the reason when unknown.",
)
TIME_TO_NAME = _histogram(
    "facestream_time_to_name_seconds",
    "source",
    "From the first frame of a face to its name.",
    _NAMING,
)
SIGHTINGS_STORED = _counter(
    "facestream_sightings_stored_total", "source", "Sightings that ended and are in the database."
)
SIGHTINGS_DROPPED = _counter(
    "facestream_sightings_dropped_total",
    "source what",
    "Rows and pictures of sightings that were not stored because the disk was too slow.",
)
SIGHTINGS_ERASED = _counter(
    "facestream_sightings_erased_total",
    "what",
    "Sightings and pictures that were erased by their age, or because the pictures took too much.",
)

# Sources

SOURCE_STATE = _gauge(
    "facestream_source_state",
    "source state",
    "1 for the state a source is in, 0 for the states it was in before.",
)
SOURCE_RESTARTS = _counter(
    "facestream_source_restarts_total", "source", "Times a source was opened again."
)
SOURCE_ERRORS = _counter(
    "facestream_source_errors_total",
    "source part",
    "Errors in a source's frames, by the part that raised (decode, convert, detect, recognise).",
)

DECODERS_LOST = _counter(
    "facestream_decoders_lost_total",
    "source cause",
    "Decoder processes that crashed, hung, needed too much memory or broke the protocol.",
)

# What runs where

ENGINE_INFO = _gauge(
    "facestream_engine_info",
    "network backend device precision",
    "1 for what runs a network now, 0 for what ran it before.",
)
INDEX_INFO = _gauge(
    "facestream_index_info",
    "kind device",
    "1 for what searches the gallery now, 0 for what searched it before.",
)
DECODER_INFO = _gauge(
    "facestream_decoder_info",
    "source decoder",
    "1 for what decodes a source now, 0 for what decoded it before.",
)
FALLBACKS = _counter(
    "facestream_fallbacks_total",
    "part reason",
    "Times a part (networks, index, decode) did not run where it could, by class of reason.",
)

# Stages and queues

STAGE_SECONDS = _histogram(
    "facestream_stage_seconds", "stage", "Time of one batch in a stage.", _SECONDS
)
BATCH_FRAMES = _histogram("facestream_batch_frames", "stage", "Frames in a stage's batch.", _COUNTS)
QUEUE_DEPTH = _gauge("facestream_queue_depth", "queue", "Items that wait.")
QUEUE_HIGH_WATER = _gauge("facestream_queue_high_water", "queue", "Most items that ever waited.")
QUEUE_BLOCKED = _counter(
    "facestream_queue_blocked_seconds_total", "queue", "Time producers waited for room."
)
QUEUE_WAITED = _counter(
    "facestream_queue_waited_seconds_total", "queue", "Time consumers waited for an item."
)

# The program

PROCESS_MEMORY = _gauge("facestream_memory_bytes", "kind", "Resident memory of this process.")
BUILD_INFO = _gauge("facestream_build_info", "version model", "Always 1; the labels say what runs.")

FAMILIES: tuple[Family, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Family))
