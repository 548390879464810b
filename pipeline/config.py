"""Typed settings: defaults, a TOML file, environment variables and flags, in that order.

The later layer wins. A key that no setting has is an error that names where it came from and
the nearest key that exists. The environment is read in one place, `environment_layer`, and only
under the names that `environment_names` lists (``FACESTREAM_<GROUP>_<KEY>``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError
from .events import EventType

Json = dict[str, Any]
ENVIRONMENT_PREFIX = "FACESTREAM_"
Share = Annotated[float, Field(gt=0, lt=1, strict=True)]


class _Group(BaseModel):
    """A table of the TOML file; the docstring under each field is its help text."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class DetectorSettings(_Group):
    """Finding faces (MTCNN)."""

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


class EncoderSettings(_Group):
    """Turning faces into embeddings."""

    max_batch: int = Field(default=32, ge=1, le=512, strict=True)
    """Most faces the encoder sees at once."""
    looks: Literal["budget", "every"] = "budget"
    """``budget``: embed a new track three times soon, then better faces and one in 0.4 s;
    ``every``: embed every face of every frame that was searched."""
    max_looks: int = Field(default=40, ge=1, le=100000, strict=True)
    """Most times one track is embedded (``budget``)."""


class TrackingSettings(_Group):
    """Joining the faces of successive frames into sightings."""

    detect_every: int = Field(default=1, ge=1, le=1000, strict=True)
    """Look for faces on every N-th frame; in between, a track keeps its last box."""
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


class RecognitionSettings(_Group):
    """Deciding who a face is; what fails a test stays ``unknown`` with the reason."""

    normalise: Literal["cohort", "none"] = "cohort"
    """``cohort``: from each similarity is taken what the face has in common with strangers, so
    that one threshold serves young and old alike; ``none``: the plain cosine."""
    threshold: float | None = Field(default=None, ge=-1, le=1, strict=True)
    """Lowest similarity that gives a name. Unset: the default in the card of the cohort or, with
    normalise = "none", of the model, calibrated at a stated false-match rate."""
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


class RuntimeSettings(_Group):
    """How the pipeline runs."""

    backend: Literal["auto", "openvino", "torch"] = "auto"
    """What runs the networks; ``facestream doctor`` shows what is usable here."""
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


class LiveSettings(_Group):
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


class EventSettings(_Group):
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


class Settings(_Group):
    """All settings of facestream; immutable."""

    detector: DetectorSettings = DetectorSettings()
    encoder: EncoderSettings = EncoderSettings()
    tracking: TrackingSettings = TrackingSettings()
    recognition: RecognitionSettings = RecognitionSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    live: LiveSettings = LiveSettings()
    events: EventSettings = EventSettings()

    def with_values(self, values: Mapping[str, Any]) -> Settings:
        """A copy with other values, given as ``{"detector.min_face": 20}``.

        Raises:
            ConfigError: a key does not exist or a value cannot be used.
        """
        data = self.model_dump()
        layer = Layer("in the given values", _nest(values))
        return _validated([Layer("in the settings", data), layer])


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings.

    Attributes:
        origin: how messages place it, e.g. ``in camera.toml`` or ``on the command line``.
        values: nested as in the TOML file.
        names: what the user wrote for a dotted key, where it is not the key itself.
    """

    origin: str
    values: Json
    names: Mapping[str, str] | None = None

    def called(self, key: str) -> str:
        """The dotted key as the user wrote it."""
        return (self.names or {}).get(key, key)


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The effective settings.

    Args:
        file: a TOML file.
        environment: e.g. ``os.environ``; only names from `environment_names` may begin with
            ``FACESTREAM_``.
        flags: dotted key to value; entries that are None count as not given.

    Raises:
        ConfigError: a file cannot be read, a key is unknown or a value cannot be used.
    """
    layers = []
    if file is not None:
        layers.append(file_layer(file))
    if environment is not None:
        layers.append(environment_layer(environment))
    if flags is not None:
        given = {key: value for key, value in flags.items() if value is not None}
        names = {key: "--" + key.split(".")[-1].replace("_", "-") for key in given}
        layers.append(Layer("on the command line", _nest(given), names))
    return _validated(layers)


def file_layer(path: Path) -> Layer:
    """What a TOML file says, not validated yet.

    Raises:
        ConfigError: it is missing, unreadable or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the settings file {path} is not UTF-8 text") from error
    try:
        return Layer(f"in {path}", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from error


def environment_names() -> dict[str, str]:
    """Every environment variable that is read, with the dotted key it sets."""
    return {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in setting_keys()}


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """What the environment says; values are written as in TOML, the quotes may be left out.

    Raises:
        ConfigError: a variable begins with ``FACESTREAM_`` and is not one that is read.
    """
    known = environment_names()
    values: Json = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        if name not in known:
            hint = _nearest(name, list(known))
            raise ConfigError(f"unknown environment variable {name}{hint}")
        try:
            values[known[name]] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[known[name]] = text
    names = {key: name for name, key in known.items()}
    return Layer("in the environment", _nest(values), names)


def default_gallery_path() -> Path:
    """Where the gallery is kept when no path is given: in the user's data folder."""
    return Path(platformdirs.user_data_path("facestream", appauthor=False)) / "gallery.db"


def setting_keys() -> list[str]:
    """Every setting as a dotted key, e.g. ``detector.min_face``."""
    return [f"{group}.{key}" for group, model in _groups() for key in model.model_fields]


def to_toml(settings: Settings) -> str:
    """The settings as a TOML file with a comment on each."""
    lines = ["# facestream settings"]
    for group, model in _groups():
        lines += ["", *(f"# {line}" for line in _help(model.__doc__ or "", "")), f"[{group}]"]
        values = getattr(settings, group)
        for key, info in model.model_fields.items():
            lines += [f"# {line}" for line in _help(info.description or "", _limits(info))]
            value = getattr(values, key)
            lines.append(f"# {key} =" if value is None else f"{key} = {_toml_value(value)}")
    return "\n".join(lines) + "\n"


def _groups() -> Iterator[tuple[str, type[_Group]]]:
    for name, info in Settings.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, _Group):
            yield name, model


def _help(text: str, limits: str) -> list[str]:
    text = " ".join(text.replace("``", '"').split()) + limits
    return wrap(text, 88, break_on_hyphens=False)


def _limits(info: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{signs[name]} {getattr(limit, name):g}"
        for limit in info.metadata
        for name in signs
        if hasattr(limit, name)
    ]
    return f" ({', '.join(found)})" if found else ""


def _toml_value(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _nest(values: Mapping[str, Any]) -> Json:
    nested: Json = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if name:
            nested.setdefault(group, {})[name] = value
        else:
            nested[group] = value
    return nested


def _validated(layers: Sequence[Layer]) -> Settings:
    merged: Json = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        _check_keys(layer)
        for group, values in layer.values.items():
            for key, value in values.items():
                merged.setdefault(group, {})[key] = value
                origins[f"{group}.{key}"] = layer
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"][:2])
        problem = _problem(first)
        layer = origins.get(key, Layer("in the settings", {}))
        raise ConfigError(f"{layer.called(key)} {layer.origin}: {problem}") from error


def _problem(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    message = (message[:1].lower() + message[1:]).replace("input should be", "must be")
    message = message.replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most")
    value = error["input"]
    shown = repr(value) if not isinstance(value, BaseModel) else ""
    return f"{message}, not {shown}" if len(shown) in range(1, 60) else message


def _check_keys(layer: Layer) -> None:
    groups = dict(_groups())
    for group, values in layer.values.items():
        if group not in groups:
            hint = _nearest(group, [*groups, *setting_keys()])
            raise ConfigError(f"unknown key '{group}' {layer.origin}{hint}")
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"'{group}' {layer.origin} is a table: write its keys under [{group}]"
            )
        for key in values:
            if key not in groups[group].model_fields:
                hint = _nearest(f"{group}.{key}", setting_keys())
                raise ConfigError(f"unknown key '{group}.{key}' {layer.origin}{hint}")


def _nearest(word: str, known: Sequence[str]) -> str:
    last = word.split(".")[-1]
    same = [key for key in known if key.split(".")[-1] == last]
    found = (
        same
        or get_close_matches(word, known, n=1)
        or [k for k in known if get_close_matches(last, [k.split(".")[-1]], n=1)]
    )
    return f"; did you mean '{found[0]}'?" if found else f"; known are: {', '.join(known)}"
