"""From the names of cameras to the sources they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from ..core.config import CameraSettings, Settings
from ..core.config.schedule import Schedule
from ..core.errors import ConfigError, SourceError
from ..sources import SourceSpec, expand_sources

__all__ = ["Schedule", "camera_source", "expand_cameras"]


def expand_cameras(
    sources: Sequence[str], settings: Settings, environment: Mapping[str, str]
) -> list[SourceSpec | str]:
    """The sources to read: names of cameras become what they stand for.

    Args:
        sources: as the user gave them; none: all cameras that are enabled. A camera that is
            named is read even when it is not.
        settings: with the cameras.
        environment: where their URLs' secrets are looked up.

    Returns:
        What is no camera's name stays as it is. The specs hold credentials in ``location`` only.

    Raises:
        ConfigError: a camera's secret is missing, or its URL cannot be used.
        SourceError: a source is neither a camera nor a path, and nearly a camera's name.
    """
    cameras = settings.cameras
    if not sources:
        sources = [name for name, camera in cameras.items() if camera.enabled]
    found: list[SourceSpec | str] = []
    for source in dict.fromkeys(sources):
        if source in cameras:
            found.append(camera_source(source, cameras[source], environment))
            continue
        near = get_close_matches(source, cameras, n=1, cutoff=0.75)
        if near and not Path(source).exists():
            raise SourceError(
                f"there is no camera and no file {source!r}; did you mean the camera {near[0]!r}?"
            )
        found.append(source)
    return found


def camera_source(name: str, camera: CameraSettings, environment: Mapping[str, str]) -> SourceSpec:
    """What to open for a camera: its device, or its URL with the secrets in it.

    Raises:
        ConfigError: a secret is missing, or the URL cannot be used.
    """
    if camera.device is not None:
        device = camera.device
        path = f"/dev/video{device}" if isinstance(device, int) else device
        return SourceSpec("camera", path, name)
    key, url = ("url", camera.url) if camera.stream == "main" else ("sub_url", camera.sub_url)
    if url is None:
        raise ConfigError(f"camera {name!r}: {key} is not given")
    location = url.resolve(environment, place=f"camera {name!r}: {key}")
    try:
        specs = expand_sources([location])
    except SourceError:
        # `from None`: a file's path may hold what came from the environment.
        raise ConfigError(f"camera {name!r}: there is no file {url}") from None
    if len(specs) != 1:
        raise ConfigError(f"camera {name!r}: {url} is {len(specs)} sources; a camera is one")
    return replace(specs[0], name=name)
