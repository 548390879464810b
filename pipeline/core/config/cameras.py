"""The table of a camera, ``[cameras.NAME]``."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    field_validator,
    model_validator,
)

from .groups import (
    DetectorSettings,
    Group,
    LimitSettings,
    LiveSettings,
    Pause,
    RecognitionSettings,
    TrackingSettings,
)
from .schedule import Schedule, Span
from .urls import CameraUrl

LONGEST_NAME = 64

# One detector and one cohort serve all cameras.
SHARED_KEYS: Mapping[str, frozenset[str]] = {
    "detector": frozenset({"mode", "factor", "thresholds"}),
    "recognition": frozenset({"normalise"}),
}

# Keys of a camera that stand for one of a group.
_SHORTHANDS: Mapping[str, tuple[str, str]] = {
    "detect_every": ("tracking", "detect_every"),
    "transport": ("live", "transport"),
    "every": ("live", "snapshot_every"),
    "tls_ca": ("live", "tls_ca"),
    "tls_verify": ("live", "tls_verify"),
}


def _url(value: Any) -> CameraUrl:
    if isinstance(value, CameraUrl):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a URL in quotes")
    return CameraUrl(value)


def _nested(value: Any) -> Any:
    points = value if isinstance(value, Sequence) else ()
    if points and all(
        isinstance(point, Sequence) and any(isinstance(x, int | float) for x in point)
        for point in points
    ):
        raise ValueError("must be a list of polygons; put one more pair of brackets around it")
    return value


def _with_area(polygon: Polygon) -> Polygon:
    turns = zip(polygon, (*polygon[1:], polygon[0]), strict=True)
    if abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in turns)) < 2e-6:
        raise ValueError("must enclose an area; give its corners in order")
    return polygon


def _given(group: Group) -> dict[str, Any]:
    return group.model_dump(exclude_unset=True)


Place = Annotated[float, Field(ge=0, le=1, strict=True)]
Polygon = tuple[tuple[Place, Place], ...]
"""Corners x, y in order, as fractions of the picture's width and height."""

_Polygons = Annotated[
    tuple[Annotated[Polygon, Field(min_length=3), AfterValidator(_with_area)], ...],
    BeforeValidator(_nested),
]
# JSON gets the redacted text.
_Url = Annotated[
    CameraUrl, PlainValidator(_url), PlainSerializer(str, return_type=str, when_used="json")
]
_Overrides = PlainSerializer(_given, return_type=dict[str, Any])


class CameraSettings(Group):
    """A camera: its address, the areas of its picture to search, and its schedule.

    Give ``url`` or ``device``. The tables inside override keys of the groups of the same names.
    """

    url: _Url | None = None
    """Its stream, e.g. "rtsp://admin:${DOOR_PASSWORD}@10.0.0.5/stream1"; ``${NAME}`` is
    taken from the environment, ``${file:/run/secrets/door}`` from a file."""
    device: int | str | None = None
    """A camera of this machine: its number, or a path such as "/dev/v4l/by-id/…"."""
    sub_url: _Url | None = None
    """Its smaller stream."""
    stream: Literal["main", "sub"] = "main"
    """The stream that is read."""
    enabled: bool = Field(default=True, strict=True)
    """``false``: not read unless it is named on the command line."""
    transport: Literal["tcp", "udp"] | None = None
    """Transport of its RTSP stream. Unset: live.transport."""
    tls_ca: Path | None = None
    """File (PEM) with its certificate or that of its CA. Unset: live.tls_ca."""
    tls_verify: bool | None = Field(default=None, strict=True)
    """``false``: its certificate is not checked. Unset: live.tls_verify."""
    every: Pause | None = None
    """Time between two requests of a URL that gives one picture, e.g. "1s". Unset:
    live.snapshot_every."""
    detect_size: int | None = Field(default=None, ge=32, le=16384, strict=True)
    """Longest side in pixels of the detector's input; larger frames are shrunk for it. Unset: not
    shrunk."""
    detect_every: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Detect faces on every N-th frame. Unset: tracking.detect_every."""
    watch: _Polygons = ()
    """Areas to search: a face outside these polygons, by its centre, is dropped. Each is a list
    of corners [x, y], as fractions of the picture from its top left. Empty: the whole picture."""
    mask: _Polygons = ()
    """Areas not to search: a face inside one of these polygons, by its centre, is dropped before it
    is embedded."""
    schedule: tuple[str, ...] = ()
    """When it is read, e.g. ["mon-fri 07:00-19:00", "sat 10:00-14:00"]. Empty: always."""
    timezone: str | None = None
    """Time zone of the schedule (IANA), e.g. "Europe/Berlin". Unset: the machine's."""
    detector: Annotated[DetectorSettings, _Overrides] = DetectorSettings()
    """``min_face`` of this camera."""
    tracking: Annotated[TrackingSettings, _Overrides] = TrackingSettings()
    """Keys of [tracking] for this camera."""
    recognition: Annotated[RecognitionSettings, _Overrides] = RecognitionSettings()
    """Keys of [recognition] for this camera, e.g. ``threshold``; not ``normalise``."""
    live: Annotated[LiveSettings, _Overrides] = LiveSettings()
    """Keys of [live] for this camera."""
    limits: Annotated[LimitSettings, _Overrides] = LimitSettings()
    """Keys of [limits] for this camera."""

    @field_validator("device")
    @classmethod
    def _device(cls, device: int | str | None) -> int | str | None:
        if isinstance(device, str) and not device.startswith("/dev/"):
            raise ValueError("must be a number or a path in /dev")
        if isinstance(device, bool) or (isinstance(device, int) and device < 0):
            raise ValueError("must be a number from 0, or a path in /dev")
        return device

    @field_validator("schedule")
    @classmethod
    def _spans(cls, schedule: tuple[str, ...]) -> tuple[str, ...]:
        for text in schedule:
            Span.parse(text)
        return schedule

    @field_validator("timezone")
    @classmethod
    def _zone(cls, timezone: str | None) -> str | None:
        Schedule((), timezone=timezone)
        return timezone

    @field_validator("detector", "recognition")
    @classmethod
    def _own_keys(cls, group: Group) -> Group:
        table = "detector" if isinstance(group, DetectorSettings) else "recognition"
        shared = sorted(SHARED_KEYS[table] & group.model_fields_set)
        if shared:
            raise ValueError(f"{shared[0]} is the same for all cameras; set it in [{table}]")
        return group

    @model_validator(mode="after")
    def _one_place(self) -> CameraSettings:
        if (self.url is None) == (self.device is None):
            raise ValueError("needs either url or device")
        if self.stream == "sub" and self.sub_url is None:
            raise ValueError('stream = "sub" needs sub_url')
        for key, (table, name) in _SHORTHANDS.items():
            if getattr(self, key) is not None and name in getattr(self, table).model_fields_set:
                raise ValueError(f"{key} and {table}.{name} say the same; keep one of them")
        return self

    @cached_property
    def times(self) -> Schedule | None:
        """When it is read; None: always."""
        return Schedule(self.schedule, timezone=self.timezone) if self.schedule else None

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Its values that override the groups: group, key, value."""
        found = {
            name: {key: getattr(group, key) for key in group.model_fields_set}
            for name in ("detector", "tracking", "recognition", "live", "limits")
            if isinstance(group := getattr(self, name), Group)
        }
        for key, (table, name) in _SHORTHANDS.items():
            if getattr(self, key) is not None:
                found[table][name] = getattr(self, key)
        return {name: values for name, values in found.items() if values}


def check_names(cameras: dict[str, CameraSettings]) -> dict[str, CameraSettings]:
    """Check the names of cameras, which are used in events, file names and commands.

    Raises:
        ValueError: one of them cannot be used.
    """
    seen: dict[str, str] = {}
    for name in cameras:
        if not name or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(
                f"{name[:LONGEST_NAME]!r} cannot be a camera's name: it needs 1 to "
                f"{LONGEST_NAME} printable characters, no spaces at its ends"
            )
        if "/" in name or "\\" in name or name in {"-", ".", ".."} or name.isdecimal():
            raise ValueError(
                f"{name!r} cannot be a camera's name: it would be taken for a path, a camera "
                "number or standard input"
            )
        same = seen.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if same != name:
            raise ValueError(f"the cameras {same!r} and {name!r} have the same name")
    return cameras
