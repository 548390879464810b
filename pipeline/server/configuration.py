"""The settings in force: those of the file, values that were changed, and cameras that were added.

What requests change is kept in the database and holds after a restart, too.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ..core.config import CameraSettings, RetentionSettings, Settings
from ..core.config.settings import setting_keys
from ..core.errors import ConfigError
from ..core.networks import AddressRules
from ..sightings import Sightings
from ..storage.service_state import read_state, write_state
from .camera_store import CameraStore, with_cameras
from .problems import RequestRefused

log = logging.getLogger(__name__)

_KEY: Final = "settings"
_GROUPS: Final = ("recognition", "tracking", "live", "limits")
_RETENTION: Final = "storage.retention."
# Files of this machine, where requests lead to, and what the loaded networks are built for.
_FIXED: Final = frozenset({"live.tls_ca", "live.tls_verify", "live.networks"}) | {
    "recognition.normalise"
}
_MORE: Final = ("server.identifications_per_minute", "server.failures_per_minute")


def changeable_settings() -> list[str]:
    """The settings that may be changed while the service runs, as dotted keys."""
    found = [key for key in setting_keys() if key.startswith(tuple(f"{one}." for one in _GROUPS))]
    ages = [_RETENTION + name for name in RetentionSettings.model_fields]
    return sorted({*found, *ages, *_MORE} - _FIXED)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the keys of the group in a group as one value."""
    inner = {key: value for key, value in values.items() if key.startswith(_RETENTION)}
    outer = {key: value for key, value in values.items() if key not in inner}
    if inner:
        ages = {key.removeprefix(_RETENTION): value for key, value in inner.items()}
        outer[_RETENTION.rstrip(".")] = ages
    return outer


Apply = Callable[[Settings, Collection[str]], None]
"""Gets the settings in force and the names of the cameras that were added."""


class Configuration:
    """Changes settings and cameras, one request after the other.

    Args:
        settings: of the file; ``settings`` is what is in force.
        sightings: the database that keeps the changes.
        apply: is called after each change.
    """

    def __init__(self, settings: Settings, sightings: Sightings, apply: Apply) -> None:
        self._file = settings
        self._sightings = sightings
        self._apply = apply
        self._lock = threading.Lock()
        self.cameras = CameraStore(sightings, AddressRules(settings.server.camera_networks))
        self.changed = self._usable()
        self.added = self.cameras.usable(settings)
        self.settings = self._in_force(self.changed, self.added)

    # --- settings --------------------------------------------------------------------------

    def change_settings(self, values: Mapping[str, Any]) -> None:
        """Change settings, given by dotted keys; None is the value of the file again.

        Raises:
            RequestRefused: 422, a key cannot be changed, or a value cannot be used.
        """
        unknown = sorted(values.keys() - set(changeable_settings()))
        if unknown:
            raise RequestRefused(422, f"{unknown[0][:80]} cannot be changed while the service runs")
        with self._lock:
            merged = {**self.changed, **values}
            changed = {key: value for key, value in merged.items() if value is not None}
            try:
                settings = self._in_force(changed, self.added)
            except ConfigError as error:
                raise RequestRefused(422, str(error)) from error
            with self._sightings.writing() as connection:
                write_state(connection, _KEY, changed or None)
            self.changed = changed
            self._use(settings)

    # --- cameras ---------------------------------------------------------------------------

    def add_camera(self, name: str, values: Mapping[str, Any]) -> None:
        """Add a camera, keep it and run it.

        Raises:
            RequestRefused: 422, a value cannot be used; 409, there is one of this name.
        """
        with self._lock:
            if name in self.settings.cameras:
                raise RequestRefused(409, "there is a camera of this name")
            self._set_camera(name, values, values)

    def change_camera(self, name: str, values: Mapping[str, Any]) -> None:
        """Change a camera that was added; raises as `add_camera`, and 404."""
        with self._lock:
            self._need_changeable(name)
            self._set_camera(name, {**self.cameras.read()[name], **values}, values)

    def remove_camera(self, name: str) -> None:
        """Remove a camera that was added.

        Raises:
            RequestRefused: 404; 409, it is of the settings file.
        """
        with self._lock:
            self._need_changeable(name)
            self.cameras.write(name, None)
            self.added = {key: one for key, one in self.added.items() if key != name}
            self._use(self._in_force(self.changed, self.added))

    def _set_camera(self, name: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        for key in ("url", "sub_url"):
            if given.get(key) is not None:
                self.cameras.check_url(given[key])
        added = {**self.added, name: self.cameras.camera(values)}
        settings = self._in_force(self.changed, added)  # refuses what cannot be
        self.cameras.write(name, values)
        self.added = added
        self._use(settings)

    def _need_changeable(self, name: str) -> None:
        if name not in self.settings.cameras:
            raise RequestRefused(404, "there is no such camera")
        if name not in self.added:
            raise RequestRefused(409, "the camera is one of the settings file; change it there")

    # --- both ------------------------------------------------------------------------------

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        self._apply(settings, tuple(self.added))

    def _in_force(
        self, changed: Mapping[str, Any], added: Mapping[str, CameraSettings]
    ) -> Settings:
        settings = self._file.with_values(_nested(changed)) if changed else self._file
        return with_cameras(settings, added)

    def _usable(self) -> dict[str, Any]:
        with self._sightings.reading() as connection:
            kept: dict[str, Any] = read_state(connection, _KEY).get(_KEY, {})
        try:
            self._in_force(kept, {})
        except ConfigError as error:
            log.warning("the settings that were changed over HTTP are left out: %s", error)
            return {}
        return kept
