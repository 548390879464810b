"""The groups of settings, one table of the TOML file each, and their defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from facestream.engines.options import Serving
from facestream.engines.private_files import GroupAccess, allow_group
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from ..errors import UsageError
from ..events import EventType
from ..location import DatabaseUrl, locate
from ..networks import checked_networks
from ..picture_limits import PictureLimits
from ..user_key import use_key_file
from .folders import default_engine_cache

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)")
_AGES = {"min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)")
_SIZES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)")


def _seconds(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError('must be seconds, or a time such as "1s", "500ms" or "5m"')
    return float(found[1]) * _UNITS[found[2]]


def _age(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _AGE.fullmatch(value.strip())
    if found is None:
        raise ValueError('must be a time such as "12h", "90d" or "2w"')
    return float(found[1]) * _AGES[found[2]]


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError('must be a size such as "500MB" or "20GB"')
    return round(float(found[1]) * _SIZES[found[2]])


Age = Annotated[float, Field(ge=60, le=1e10, strict=True), BeforeValidator(_age)]
"""Seconds; in the settings e.g. "12h", "90d", "2w"."""
Size = Annotated[int, Field(ge=10**6, le=10**18, strict=True), BeforeValidator(_bytes)]
"""Bytes; in the settings e.g. "500MB", "20GB" (powers of ten)."""
Pause = Annotated[float, Field(ge=0.02, le=86400, strict=True), BeforeValidator(_seconds)]
"""Seconds; in the settings also e.g. "1s"."""


def _location(value: Any) -> Any:
    if not isinstance(value, str | Path):
        return value
    try:
        return locate(value)
    except UsageError as error:
        raise ValueError(str(error)) from error


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
    kernels: Literal["auto", "off"] = "auto"
    """``auto``: on a CPU the detector's networks run in C where it was built, unless
    ``runtime.backend`` names another; ``off``: never. ``facestream doctor`` says which serves."""


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
    networks: Annotated[tuple[str, ...], AfterValidator(checked_networks)] | None = None
    """Networks (CIDR) that URLs may lead to, also by redirects; with ``!`` before it one is
    refused. This machine, 169.254.0.0/16 and multicast need a network within them. Unset: any."""
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


class RetentionSettings(Group):
    """How long sightings are kept. What is older is erased while a run with ``--db`` goes on, and
    by ``facestream db retention``; people and their photos stay."""

    known: Age | None = None
    """Of sightings with a name, e.g. "90d". Unset: for ever."""
    stranger: Age | None = None
    """Of sightings of strangers."""
    unsure: Age | None = None
    """Of sightings that are neither."""
    pictures: Age | None = None
    """Of the pictures of all sightings; the sightings stay without them."""
    max_size: Size | None = None
    """Most that the pictures take together, e.g. "20GB"; the oldest are erased first."""


class StorageSettings(Group):
    """Files with faces, names and embeddings: gallery, events, pictures, report, video, exports."""

    database: Annotated[Path | DatabaseUrl, BeforeValidator(_location)] | None = None
    """Database in which runs store their sightings; it holds the people too: a file, or
    ``postgresql://user@host/name``. Unset: sightings are not stored."""
    media: Path | None = None
    """Folder of the pictures of sightings. Unset: ``media`` beside the file; of a database on a
    server, ``media/NAME`` in the user's data folder."""
    group_access: GroupAccess = "none"
    """Who else may read what is written. ``none``: the user alone (modes 0600 and 0700, whatever
    the umask); ``read``: also the group of the file (0640 and 0750). Nobody else may write it."""

    key_file: Path | None = None
    """File with the key (32 bytes in base64) of an encrypted database; ``facestream db key new``
    makes one. The environment variable ``FACESTREAM_KEY``, the key itself, comes first."""
    outbox: Path | None = None
    """Folder of the messages of MQTT and webhooks that wait to be sent. Unset: ``outbox`` beside
    the database; without one, or of a database on a server, in the user's data folder."""
    retention: RetentionSettings = RetentionSettings()
    """How long sightings are kept, by verdict: known, stranger and unsure, e.g. "90d"; how long
    their pictures; and max_size of all pictures, e.g. "20GB"."""

    def apply(self) -> None:
        """Use these settings in this process; the commands call it."""
        allow_group(self.group_access)
        use_key_file(self.key_file)


class RestreamSettings(Group):
    """Live video for browsers (``--restream``)."""

    token: SecretStr | None = Field(default=None, min_length=8)
    """Token that browsers must send, as ?token=… or as a bearer token. Required where other
    machines can connect. It is never printed."""


class ServerSettings(Group):
    """Limits of the HTTP servers (``serve``, ``--metrics``, ``--restream``), each on its own."""

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
    """Largest body of a request in bytes; of a request with pictures see ``max_upload_megabytes``.
    """
    proxies: tuple[str, ...] = ()
    """Addresses or networks (CIDR) of reverse proxies in front of ``serve``, whose headers
    X-Forwarded-For and X-Forwarded-Proto are believed; nobody else's are."""
    max_upload_megabytes: float = Field(default=64.0, gt=0, le=4096, strict=True)
    """Largest request with pictures, in megabytes (``serve``)."""
    max_upload_megapixels: float = Field(default=100.0, gt=0, le=4000, strict=True)
    """Largest JPEG that is uploaded, in megapixels; other kinds as ``photos.max_megapixels``."""
    upload_timeout: float = Field(default=60.0, ge=1, le=3600, strict=True)
    """Seconds in which the body of a request must have come (``serve``)."""
    workers: int = Field(default=2, ge=1, le=64, strict=True)
    """Requests whose pictures are examined at a time (``serve``)."""
    max_waiting: int = Field(default=16, ge=0, le=1024, strict=True)
    """Requests that wait for that; further ones are refused with status 503."""
    identifications_per_minute: int = Field(default=60, ge=1, le=100000, strict=True)
    """Pictures that a viewer may have examined in a minute; an operator 50 times as many, an
    admin any number."""
    failures_per_minute: int = Field(default=10, ge=1, le=10000, strict=True)
    """Wrong keys and passwords from an address in a minute, before it is refused for a while."""
    event_history: int = Field(default=2000, ge=1, le=1000000, strict=True)
    """Events that are kept for clients that lost their connection (``serve``)."""
    max_listeners: int = Field(default=64, ge=1, le=4096, strict=True)
    """Clients that listen to events or watch a camera at a time (``serve``)."""
    camera_networks: Annotated[tuple[str, ...], AfterValidator(checked_networks)] = (
        "0.0.0.0/0",
        "::/0",
    )
    """Networks (CIDR) in which requests may add cameras (``serve``), see ``live.networks``."""
    media_folders: tuple[Path, ...] = ()
    """Folders whose files requests may name, e.g. to redact them (``serve``). No two may have the
    same last part, by which requests name them; links in them are not followed."""
    backup_folder: Path | None = None
    """Folder in which ``serve`` writes backups. Unset: it makes none."""
    compatible: tuple[Literal["deepstack", "compreface"], ...] = ()
    """APIs of other servers that ``serve`` also speaks: ``deepstack`` (and CodeProject.AI),
    ``compreface``."""


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
