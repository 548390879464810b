"""What the cameras of the settings resolve to, and what they deliver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

from ..core.config import CameraSettings, Settings
from ..core.errors import ConfigError, UsageError
from ..core.types import Image
from ..detection.region import view_of
from ..ingest.live_reader import live_options
from ..ingest.readers import camera_source
from ..sources import DEFAULTS, SourceSpec, open_source

CAMERAS_AT_ONCE = 8
Read = Literal["nothing", "properties", "frame"]


@dataclass(frozen=True, slots=True, eq=False)
class CameraReport:
    """A camera, without its secrets.

    Attributes:
        source: URL with placeholders, or device.
        enabled: read when no sources are named.
        open: within its schedule now; None without a schedule.
        next_change: when that changes, ISO 8601 in the local time zone; None: never.
        detect_every: see `View`, like the next ones.
        min_face: smallest face in pixels of the frame.
        detect_size: longest side that is searched, or None.
        watch: number of polygons, likewise ``mask``.
        overrides: the keys in which it differs from the groups.
        width: of its frames in pixels, when it was probed; likewise the next three.
        fps: frames a second that the stream announces.
        problem: why it cannot be used; None when nothing is wrong.
        frame: a frame (H×W×3 BGR uint8) where one was requested.
    """

    name: str
    source: str
    enabled: bool
    open: bool | None
    next_change: str | None
    detect_every: int
    min_face: int
    detect_size: int | None
    watch: int
    mask: int
    overrides: tuple[str, ...]
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str | None = None
    problem: str | None = None
    frame: Image | None = field(default=None, repr=False)


def probe_cameras(
    names: Sequence[str], settings: Settings, environment: Mapping[str, str], *, read: Read
) -> list[CameraReport]:
    """The cameras' resolved settings and, when they are opened, their streams.

    Args:
        names: which; none: all of them.
        settings: with the cameras.
        environment: where secrets are looked up.
        read: how much is read of each; ``nothing`` opens none of them.

    Raises:
        ConfigError: there are no cameras, or none of that name.
    """
    chosen = _chosen(names, settings)
    with ThreadPoolExecutor(min(CAMERAS_AT_ONCE, len(chosen))) as pool:
        return list(pool.map(lambda name: _probe(name, settings, environment, read), chosen))


def _probe(
    name: str, settings: Settings, environment: Mapping[str, str], read: Read
) -> CameraReport:
    camera = settings.cameras[name]
    report = _described(name, camera, settings)
    try:
        spec = camera_source(name, camera, environment)
        return report if read == "nothing" else _opened(report, spec, settings, read)
    except UsageError as error:
        return replace(report, problem=str(error))


def _chosen(names: Sequence[str], settings: Settings) -> list[str]:
    known = list(settings.cameras)
    if not known:
        raise ConfigError(
            "the settings have no cameras; give a file with [cameras.NAME] tables by --config"
        )
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise ConfigError(f"there is no camera {name!r}; {hint}")
    return list(dict.fromkeys(names)) or known


def _described(name: str, camera: CameraSettings, settings: Settings) -> CameraReport:
    view = view_of(settings, name)
    url = camera.url if camera.stream == "main" else camera.sub_url
    now = datetime.now(UTC)
    times = camera.times
    change = None if times is None else times.next_change(now)
    return CameraReport(
        name=name,
        source=str(url) if url is not None else f"device {camera.device}",
        enabled=camera.enabled,
        open=None if times is None else times.open_at(now),
        next_change=None if change is None else change.astimezone().isoformat(timespec="minutes"),
        detect_every=view.every,
        min_face=settings.for_source(name).detector.min_face,
        detect_size=view.size,
        watch=len(view.watch),
        mask=len(view.mask),
        overrides=tuple(
            f"{group}.{key} = {value}"
            for group, values in camera.overrides().items()
            for key, value in sorted(values.items())
        ),
    )


def _opened(report: CameraReport, spec: SourceSpec, settings: Settings, read: Read) -> CameraReport:
    live = settings.for_source(report.name).live
    options = live_options(DEFAULTS, live)
    options.tls.warn(report.name, spec.location)
    with open_source(spec, options) as source:
        info = source.info
        report = replace(
            report, width=info.width, height=info.height, fps=info.fps, codec=info.codec or None
        )
        if read != "frame":
            return report
        frame = next(iter(source), None)
    if frame is None:
        return replace(report, problem=f"{report.name} delivered no picture")
    return replace(report, frame=frame.image)
