"""The groups of settings: each is a table of the TOML file, and has its defaults here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from facestream.engines.options import Serving
from platformdirs import user_cache_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ..events import EventType

Share = Annotated[float, Field(gt=0, lt=1, strict=True)]


class Group(BaseModel):
    """A table of the TOML file; the docstring under each field is its help text."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # What was given may be a URL with a password in it.
        hide_input_in_errors=True,
    )


class DetectorSettings(Group):
    """Finding faces (MTCNN)."""

    name: str = "mtcnn"
    """Which detector: ``mtcnn``, or one that a package adds through the entry points
    ``facestream.detectors``; the other settings of this table are given to it."""
    min_face: int = Field(default=40, ge=12, le=4096, strict=True)
    """Smallest face to look for, in pixels of the frame. Halving it costs about four times as
    much time."""
    mode: Literal["fast", "exact"] = "fast"
    """``fast``: quickest resampling and arithmetic; ``exact``: float32, the boxes of
    facenet-pytorch."""
    factor: float = Field(default=0.709, ge=0.3, le=0.95, strict=True)
    """Ratio of one pyramid level's size to the next."""
    thresholds: tuple[Share, Share, Share] = (0.6, 0.7, 0.7)
    """Lowest probability that P-Net, R-Net and O-Net let through, each 0 to 1."""


class EncoderSettings(Group):
    """Turning faces into embeddings."""

    max_batch: int = Field(default=32, ge=1, le=256, strict=True)
    """Most faces the encoder sees at once."""
    looks: Literal["budget", "every"] = "budget"
    """``budget``: embed a new face twice soon, then when there is something new: a better picture,
    another pose, or time passed (0.4 s, doubled up to 1.6 s, to 4 s once the name is sure);
    ``every``: embed every face of every frame that was searched."""
    max_looks: int = Field(default=40, ge=1, le=100000, strict=True)
    """Most times one track is embedded (``budget``)."""


class TrackingSettings(Group):
    """Joining the faces of successive frames into sightings."""

    detect_every: int = Field(default=1, ge=1, le=1000, strict=True)
    """Look for faces on every N-th frame; in between, a face moves on as it moved."""
    search: Literal["auto", "whole", "changes"] = "auto"
    """``changes``: only where the picture changed, and around the faces there, is searched; what
    stands still is where it was. ``whole``: everything, every time. ``auto``: changes for live
    sources, the whole for files, whose frames are searched several at a time."""
    refresh: float = Field(default=2.0, gt=0, le=3600, strict=True)
    """With ``search = "changes"``: seconds after which the whole picture is searched again."""
    iou: float = Field(default=0.3, gt=0, lt=1, strict=True)
    """Overlap (intersection over union) from which two boxes are the same face."""
    absence_timeout: float = Field(default=1.0, gt=0, le=3600, strict=True)
    """Seconds after which a face that is not seen any more has left."""
    min_faces: int = Field(default=3, ge=1, le=1000, strict=True)
    """Detections a track needs to be reported as a sighting; a photo needs one."""
    confirm: int = Field(default=2, ge=1, le=100, strict=True)
    """Searches that must agree on a person before the name is given; a photo needs one."""
    cooldown: float = Field(default=0.0, ge=0, le=86400, strict=True)
    """Seconds after a person was last seen by a source in which they are not announced again
    (``identified``); the sighting itself is reported all the same."""


class RecognitionSettings(Group):
    """Deciding who a face is; what fails a test stays ``unknown`` with the reason."""

    normalise: Literal["cohort", "none"] = "cohort"
    """``cohort``: from each similarity is taken what the face has in common with strangers, so
    that one threshold serves young and old alike; ``none``: the plain cosine."""
    threshold: float | None = Field(default=None, ge=-1, le=1, strict=True)
    """Lowest similarity that gives a name, whatever the size of the gallery. Unset: the default in
    the card of the cohort or, with normalise = "none", of the model (false-match rate 0.1 % of one
    comparison), or more where ``false_alarms`` asks for it."""
    false_alarms: float = Field(default=0.02, gt=0, lt=1, strict=True)
    """Share of strangers who may get a name at one search. The more photos the gallery holds, the
    more similar a face must be; below about 20 photos it is the default. Without effect where
    ``threshold`` is set."""
    margin: float = Field(default=0.05, ge=0, le=1, strict=True)
    """How much more similar the best person must be than the second (else ``ambiguous``)."""
    max_sigma: float | None = Field(default=None, gt=0, strict=True)
    """Uncertainty of a track's clearest look above which no name is given (``uncertain``). Unset:
    the limit in the card of the cohort or the model."""
    release: float = Field(default=0.08, ge=0, le=1, strict=True)
    """How far the similarity of a person who has the name must fall below the threshold before
    the name is withdrawn, and by how much another must be more similar to take it over."""
    min_face_to_name: int = Field(default=24, ge=0, le=4096, strict=True)
    """Smallest face that may get a name (else ``too_small``): shorter side of its box in pixels."""


class RuntimeSettings(Group):
    """How the pipeline runs."""

    backend: Literal["auto", "onnxruntime", "openvino", "tensorrt", "torch"] = "auto"
    """What runs the networks; ``facestream doctor`` shows what is usable here. ``torch`` is the old
    name of ``onnxruntime``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where they run. ``auto``: on the GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    """The encoder's arithmetic. ``auto``: the fastest whose embeddings pass the parity gate."""
    strict_device: bool = False
    """Fail rather than run the networks, the search or the decoding elsewhere than asked for;
    with ``auto``, rather than leave a GPU of this machine unused."""
    wait_engines: bool = False
    """Wait while engines are built for this machine, rather than begin with slower ones."""
    engine_cache: Path | None = None
    """Folder of the engines that were built. Unset: the user's cache folder."""
    decode: Literal["auto", "cpu", "cuda", "vaapi"] = "auto"
    """What decodes video. ``auto``: hardware that can be opened, else the CPU."""
    index: Literal["auto", "flat", "hnsw", "ivfpq", "gpu"] = "auto"
    """How the gallery is searched. ``auto``: exactly, on the GPU where there is one; on the CPU
    above four million photos by approximation."""
    threads: int | None = Field(default=None, ge=1, le=1024, strict=True)
    """Threads for the networks. Unset: as many as there are cores."""
    inbox_frames: int = Field(default=8, ge=1, le=1024, strict=True)
    """Decoded frames that may wait per source."""
    queue_batches: int = Field(default=2, ge=1, le=1024, strict=True)
    """Batches that may wait between two stages, and results that may wait per batch for the
    reader. Each holds whole frames: at 1080p one frame is 6 MB."""
    batch_frames: int = Field(default=4, ge=1, le=256, strict=True)
    """Most frames that travel together."""
    max_wait: float = Field(default=0.02, ge=0, le=10, strict=True)
    """Longest time in seconds that a batch waits to fill up."""
    max_frames: int | None = Field(default=None, ge=1, strict=True)
    """Stop each source after so many frames. Unset: to its end."""

    def serving(self) -> Serving:
        """What the engines are asked for."""
        return Serving(
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            building="wait" if self.wait_engines else "fallback",
            strict=self.strict_device,
            cache=self.engine_cache or user_cache_path("facestream") / "engines",
        )


class LiveSettings(Group):
    """Cameras and streams: how they are opened, and what happens when they are lost."""

    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP streams travel."""
    open_timeout: float = Field(default=10.0, gt=0, le=600, strict=True)
    """Seconds until opening has failed."""
    read_timeout: float = Field(default=10.0, gt=0, le=600, strict=True)
    """Seconds without a frame after which the source is opened again."""
    stall_after: float = Field(default=3.0, gt=0, le=600, strict=True)
    """Seconds without a frame after which the source counts as stalled."""
    frozen_after: float = Field(default=30.0, gt=0, le=86400, strict=True)
    """Seconds of the very same picture after which the source counts as stalled."""
    retry_first: float = Field(default=1.0, gt=0, le=600, strict=True)
    """Seconds before a lost source is tried again; doubled after each failure."""
    retry_longest: float = Field(default=30.0, gt=0, le=3600, strict=True)
    """Longest pause between two tries, in seconds."""


class EventSettings(Group):
    """What is told, and how the events' file grows."""

    types: tuple[EventType, ...] = ("appeared", "identified", "updated", "left", "source_state")
    """Kinds of events that are written."""
    rotate_megabytes: float | None = Field(default=None, gt=0, strict=True)
    """Begin a new file when this one has so many megabytes. Unset: never."""
    rotate_daily: bool = False
    """Begin a new file at midnight (UTC)."""
    keep_files: int | None = Field(default=None, ge=1, strict=True)
    """Rotated files that are kept; older ones are deleted. Unset: all."""
    embeddings: bool = False
    """Write the fused embedding of each sighting into its ``left`` event. It is biometric
    data."""


class AnnotateSettings(Group):
    """The annotated video of live sources (``--annotate``), which is written in segments."""

    segment_minutes: float = Field(default=10.0, gt=0, le=1440, strict=True)
    """Begin a new file after so many minutes."""
    keep_segments: int | None = Field(default=None, ge=1, strict=True)
    """Files that are kept of each source; older ones are deleted. Unset: all."""


class RestreamSettings(Group):
    """The live picture for browsers (``--restream``)."""

    token: SecretStr | None = Field(default=None, min_length=8)
    """What a browser must present, as ?token=… or as a bearer token. Needed where other machines
    can connect. It is never printed."""
