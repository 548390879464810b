"""The groups of settings, one table of the TOML file each, and their defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from facestream.engines.options import Serving
from facestream.engines.private_files import GroupAccess, allow_group
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ..events import EventType
from ..picture_limits import PictureLimits
from .folders import default_engine_cache

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)")


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError('must be seconds, or a time such as "1s", "500ms" or "5m"')
    return float(found[1]) * _UNITS[found[2]]


Pause = Annotated[float, Field(ge=0.02, le=86400, strict=True), BeforeValidator(_seconds)]
"""Seconds; in the settings also e.g. "1s"."""


class Group(BaseModel):
    """A table of the TOML file; the docstring under each field is its help text."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # An input can be a URL with a password.
        hide_input_in_errors=True,
    )


class DetectorSettings(Group):
    """Face detection (MTCNN)."""

    name: str = "mtcnn"
    """Which detector: ``mtcnn``, or one that a package adds through the entry points
    ``facestream.detectors``; the other settings of this table are given to it."""
    min_face: int = Field(default=40, ge=12, le=4096, strict=True)
    """Smallest face that is detected, in pixels of the frame. Half of it takes about four times
    as long."""
    mode: Literal["fast", "exact"] = "fast"
    """``fast``: fastest arithmetic, and faces that reach beyond the picture's edge are found whole;
    ``exact``: float32, the same boxes as facenet-pytorch, also at the edge."""
    factor: float = Field(default=0.709, ge=0.3, le=0.95, strict=True)
    """Ratio of the sizes of successive pyramid levels."""
    thresholds: tuple[Share, Share, Share] = (0.6, 0.7, 0.7)
    """Lowest probability that P-Net, R-Net and O-Net accept, each 0 to 1."""


class EncoderSettings(Group):
    """Face embedding."""

    max_batch: int = Field(default=32, ge=1, le=256, strict=True)
    """Largest batch of the encoder, in faces."""
    looks: Literal["budget", "every"] = "budget"
    """When a tracked face is embedded. ``budget``: twice at the start, then for a better picture,
    another pose, or after some time (0.4 s, doubled up to 1.6 s, or 4 s once the name is certain);
    ``every``: in every frame that was searched."""
    max_looks: int = Field(default=40, ge=1, le=100000, strict=True)
    """Most embeddings of one track (``budget``)."""


class TrackingSettings(Group):
    """Tracking: the faces of successive frames become sightings."""

    detect_every: int = Field(default=1, ge=1, le=1000, strict=True)
    """Detect faces on every N-th frame; between them a face keeps its velocity."""
    search: Literal["auto", "whole", "changes"] = "auto"
    """``changes``: detect only where the picture changed and around the faces there; a face that
    stands still keeps its box. ``whole``: detect in the whole picture. ``auto``: ``changes`` for
    live sources, ``whole`` for files, whose frames are processed in batches."""
    refresh: float = Field(default=2.0, gt=0, le=3600, strict=True)
    """With ``changes``: seconds between two detections in the whole picture."""
    iou: float = Field(default=0.3, gt=0, lt=1, strict=True)
    """Least overlap (intersection over union) of two boxes of the same face."""
    absence_timeout: float = Field(default=1.0, gt=0, le=3600, strict=True)
    """Seconds without a detection after which a face has left; at least 2.5 intervals between
    searched frames."""
    min_faces: int = Field(default=3, ge=1, le=1000, strict=True)
    """Least detections of a track that is reported as a sighting; for photos it is 1. Where
    searched frames are more than 0.4 s apart, as many as there are in a second, at least 1."""
    confirm: int = Field(default=2, ge=1, le=100, strict=True)
    """Searches that must agree on a person before the track is named; for photos it is 1. Where
    searched frames are far apart it falls like ``min_faces``."""
    cooldown: float = Field(default=0.0, ge=0, le=86400, strict=True)
    """Seconds after a source last saw a person in which ``identified`` is not sent again for them;
    their sightings are reported all the same."""


class RecognitionSettings(Group):
    """Identification; a face that fails a test stays ``unknown``, with the reason."""

    normalise: Literal["cohort", "none"] = "cohort"
    """``cohort``: similarities are normalised by the face's similarities to a cohort of strangers,
    so that one threshold fits young and old faces; ``none``: the plain cosine."""
    threshold: float | None = Field(default=None, ge=-1, le=1, strict=True)
    """Lowest similarity that gives a name, for galleries of any size. Unset: the default of the
    cohort or, without normalisation, of the model (0.1 % false matches in one comparison), or more
    where ``false_alarms`` requires it."""
    false_alarms: float = Field(default=0.02, gt=0, lt=1, strict=True)
    """Share of strangers who may get a name in one search. The threshold rises with the number of
    photos in the gallery; below about 20 photos it is the default. No effect if ``threshold`` is
    set."""
    margin: float = Field(default=0.05, ge=0, le=1, strict=True)
    """Least lead in similarity of the best person over the second (else ``ambiguous``)."""
    max_sigma: float | None = Field(default=None, gt=0, strict=True)
    """Highest uncertainty (sigma) of a track's best embedding that gives a name (else
    ``uncertain``). Unset: the limit of the cohort or the model."""
    release: float = Field(default=0.08, ge=0, le=1, strict=True)
    """Hysteresis: a name is withdrawn when its similarity falls this far below the threshold, and
    replaced when another person is more similar by this much."""
    min_face_to_name: int = Field(default=24, ge=0, le=4096, strict=True)
    """Smallest face that gets a name (else ``too_small``): shorter side of its box in pixels."""
    withhold_flat: bool = False
    """Withhold (reason ``flat``) the names of faces whose landmarks show no parallax over time, as
    those of a picture that is held up or shown on a screen. No liveness check: videos are not
    noticed, and a name may be given for some seconds before it is withdrawn."""


class RuntimeSettings(Group):
    """Networks, devices, queues and batches."""

    backend: Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"] = "auto"
    """Inference backend; ``facestream doctor`` lists those that are usable here. ``torch`` is the
    old name of ``onnxruntime``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks. ``auto``: the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    """Precision of the encoder. ``auto``: the fastest that passes the parity gate."""
    strict_device: bool = False
    """Fail instead of falling back to another device for inference, search or decoding; with
    ``auto``, fail instead of leaving a GPU of this machine unused."""
    wait_engines: bool = False
    """Wait until engines are built for this machine instead of starting with slower ones."""
    engine_cache: Path | None = None
    """Folder of built engines. Unset: in the user's cache folder."""
    decode: Literal["auto", "cpu", "cuda", "vaapi"] = "auto"
    """Video decoder. ``auto``: hardware that can be opened, else the CPU."""
    isolation: Literal["auto", "process", "thread"] = "auto"
    """Where sources are decoded. ``process``: each in a process of its own with limits of memory
    and rights, so that a stream that crashes, hangs or takes over its decoder costs that source
    alone; ``thread``: in this process; ``auto``: cameras and URLs in processes, files in this
    one."""
    decoder_memory: int = Field(default=1024, ge=128, le=65536, strict=True)
    """Megabytes that a decoder's process may use (CPU decoding)."""
    decoder_timeout: float = Field(default=30.0, ge=1, le=3600, strict=True)
    """Seconds without a sign of life after which a decoder's process is killed."""
    index: Literal["auto", "flat", "hnsw", "ivfpq", "gpu"] = "auto"
    """Index of the gallery. ``auto``: exact search, on the GPU where there is one; ``hnsw`` and
    ``ivfpq`` are approximate, for galleries of many million photos."""
    threads: int | None = Field(default=None, ge=1, le=1024, strict=True)
    """Threads of the networks. Unset: one for each core."""
    inbox_frames: int = Field(default=8, ge=1, le=1024, strict=True)
    """Longest queue of decoded frames for each source."""
    queue_batches: int = Field(default=2, ge=1, le=1024, strict=True)
    """Longest queue between two stages, in batches; also limits the results that wait for the
    reader. Each batch holds whole frames (6 MB at 1080p)."""
    batch_frames: int = Field(default=4, ge=1, le=256, strict=True)
    """Largest batch of frames."""
    max_wait: float = Field(default=0.02, ge=0, le=10, strict=True)
    """Longest time in seconds that an incomplete batch waits for more frames."""
    track: int | None = Field(default=None, ge=0, strict=True)
    """Video track that is watched in files with several, from 0; ``FILE#N`` chooses for one file.
    Unset: the one that the file marks as the default, or the largest."""
    follow: float | None = Field(default=None, gt=0, le=86400, strict=True)
    """Read files that are still being written until they have not grown for so many seconds
    (``--follow``: 10). Unset: a file that a program has open for writing is read until it is
    closed."""
    max_frames: int | None = Field(default=None, ge=1, strict=True)
    """Stop each source after this many frames. Unset: at its end."""

    def serving(self) -> Serving:
        """The request to the engines."""
        return Serving(
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            building="wait" if self.wait_engines else "fallback",
            strict=self.strict_device,
            cache=self.engine_cache or default_engine_cache(),
        )


class LiveSettings(Group):
    """Cameras and streams: opening, time-outs and reconnection."""

    transport: Literal["tcp", "udp"] = "tcp"
    """Transport of RTSP streams."""
    tls_ca: Path | None = None
    """File (PEM) with the certificates that are trusted for rtsps, https and other TLS. Unset: the
    system's."""
    tls_verify: bool = Field(default=True, strict=True)
    """``false``: certificates are not checked; whoever is in between can read the password."""
    open_timeout: float = Field(default=10.0, gt=0, le=600, strict=True)
    """Seconds after which opening a source fails."""
    read_timeout: float = Field(default=10.0, gt=0, le=600, strict=True)
    """Seconds without a frame after which the source is reopened."""
    stall_after: float = Field(default=3.0, gt=0, le=600, strict=True)
    """Seconds without a frame after which the source is ``stalled``."""
    frozen_after: float = Field(default=30.0, gt=0, le=86400, strict=True)
    """Seconds of an unchanged picture after which the source is ``stalled``."""
    snapshot_every: Pause = 1.0
    """Seconds between two requests of a URL that gives one picture (HTTP, ``image/*``); also e.g.
    "500ms", "10s" or "5m"."""
    retry_first: float = Field(default=1.0, gt=0, le=600, strict=True)
    """Seconds before the first retry of a lost source; doubled after each failure."""
    retry_longest: float = Field(default=30.0, gt=0, le=3600, strict=True)
    """Longest pause between two retries, in seconds."""


class LimitSettings(Group):
    """What one live source may use, so that none takes the others' time and memory. Files have
    no limits. What is left out is counted with its cause."""

    megapixels: float = Field(default=8.3, gt=0, le=1000, strict=True)
    """Largest picture in millions of pixels; larger ones are shrunk when they are decoded. The
    default keeps 4K (3840×2160)."""
    most_megapixels: float = Field(default=50.0, gt=0, le=1000, strict=True)
    """A source with larger pictures is refused: its decoder alone would take too much memory."""
    faces: int = Field(default=200, ge=1, le=10000, strict=True)
    """Most faces that are tracked in a frame: those that have a track first, then the largest."""
    tracks: int = Field(default=300, ge=1, le=100000, strict=True)
    """Most tracks at a time; a new face beyond that is not tracked."""
    embeddings: float = Field(default=100.0, gt=0, le=100000, strict=True)
    """Most faces that are embedded in a second."""


class EventSettings(Group):
    """Events and the rotation of their file."""

    types: tuple[EventType, ...] = (
        *("appeared", "identified", "updated", "left"),
        *("source_state", "output_state"),
    )
    """Kinds of events that are written."""
    rotate_megabytes: float | None = Field(default=None, gt=0, strict=True)
    """Start a new file at this size in megabytes. Unset: never."""
    rotate_daily: bool = False
    """Start a new file at midnight (UTC)."""
    keep_files: int | None = Field(default=None, ge=1, strict=True)
    """Number of rotated files to keep; older ones are deleted. Unset: all."""
    embeddings: bool = False
    """Write the fused embedding of each sighting, which is biometric data, into its ``left``
    event."""


class AnnotateSettings(Group):
    """The annotated video of live sources (``--annotate``), written in segments."""

    segment_minutes: float = Field(default=10.0, gt=0, le=1440, strict=True)
    """Length of a file in minutes."""
    keep_segments: int | None = Field(default=None, ge=1, strict=True)
    """Number of files to keep for each source; older ones are deleted. Unset: all."""


class StorageSettings(Group):
    """Files with faces, names and embeddings: gallery, events, pictures, report, video, exports."""

    database: Path | None = None
    """File of the database in which runs store their sightings; it holds the people too. Unset:
    sightings are not stored."""
    group_access: GroupAccess = "none"
    """Who else may read what is written. ``none``: the user alone (modes 0600 and 0700, whatever
    the umask); ``read``: also the group of the file (0640 and 0750). Nobody else may write it."""

    def apply(self) -> None:
        """Use these settings in this process; the commands call it."""
        allow_group(self.group_access)


class RestreamSettings(Group):
    """Live video for browsers (``--restream``)."""

    token: SecretStr | None = Field(default=None, min_length=8)
    """Token that browsers must send, as ?token=… or as a bearer token. Required where other
    machines can connect. It is never printed."""


class ServerSettings(Group):
    """Limits of the HTTP servers (``--metrics``, ``--restream``), each on its own."""

    hosts: tuple[str, ...] = ()
    """Names under which the servers are asked for, e.g. behind a proxy or in a container network.
    Addresses, ``localhost`` and the name of this machine are accepted anyway; a request with
    another Host header is refused."""
    max_connections: int = Field(default=64, ge=1, le=4096, strict=True)
    """Most connections; further ones are refused with status 503. Fewer where the limit of open
    files (``ulimit -n``) is low: what the run needs is reserved."""
    max_connections_per_client: int = Field(default=32, ge=1, le=4096, strict=True)
    """Most connections of one address."""
    header_timeout: float = Field(default=10.0, ge=1, le=600, strict=True)
    """Seconds that a client has to send the header of its request."""
    idle_timeout: float = Field(default=30.0, ge=1, le=3600, strict=True)
    """Seconds after which a connection without a request, or whose client does not read, is
    closed."""
    max_request_bytes: int = Field(default=65536, ge=0, le=1 << 31, strict=True)
    """Largest body of a request in bytes."""


class PhotoSettings(Group):
    """Limits of picture files, which are checked before a picture is decoded."""

    max_megabytes: float = Field(default=256.0, gt=0, le=4096, strict=True)
    """Largest photo file in megabytes (10^6 bytes)."""
    max_megapixels: float = Field(default=500.0, gt=0, le=4000, strict=True)
    """Largest JPEG in megapixels. Other kinds are not decoded at a fraction of their size, so they
    are limited lower: HEIC, AVIF and JPEG XL to a quarter of it, WebP and JPEG 2000 to an eighth,
    all others to a third. As set, a photo takes about 1 GB of memory at most."""

    def limits(self) -> PictureLimits:
        """The limits in bytes and pixels."""
        return PictureLimits(int(self.max_megabytes * 1e6), int(self.max_megapixels * 1e6))
