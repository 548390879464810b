"""Cameras that were added over HTTP: checked, and kept in the database."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from ..core.config import CameraSettings, Settings
from ..core.config.cameras import check_names
from ..core.networks import AddressRules
from ..core.redact import UrlParts
from ..sightings import Sightings
from ..storage.service_state import read_state, write_state
from .problems import RequestRefused

log = logging.getLogger(__name__)

PREFIX: Final = "camera/"
SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
MOST_CAMERAS: Final = 256
# Keys that belong to a group of the settings, by their names in requests.
_GROUPED: Final[Mapping[str, tuple[str, str]]] = {
    "threshold": ("recognition", "threshold"),
    "min_face": ("detector", "min_face"),
}


class CameraStore:
    """Cameras of requests; those of the settings file are not here.

    Args:
        sightings: the database that keeps them.
        rules: where their URLs may lead.
    """

    def __init__(self, sightings: Sightings, rules: AddressRules) -> None:
        self._sightings = sightings
        self._rules = rules

    def read(self) -> dict[str, dict[str, Any]]:
        """All of them: the values of requests by name."""
        with self._sightings.reading() as connection:
            found = read_state(connection, PREFIX)
        return {key.removeprefix(PREFIX): values for key, values in found.items()}

    def usable(self, settings: Settings) -> dict[str, CameraSettings]:
        """The settings of all that can be used beside those of the file; others are logged."""
        found: dict[str, CameraSettings] = {}
        for name, values in self.read().items():
            try:
                if name in settings.cameras:
                    raise RequestRefused(409, "the settings file has one of this name")
                added = {**found, name: self.camera(values)}
                with_cameras(settings, added)
                found = added
            except RequestRefused as error:
                log.warning("the camera %s, added over HTTP, is left out: %s", name, error)
        return found

    def write(self, name: str, values: Mapping[str, Any] | None) -> None:
        """Keep a camera; None removes it."""
        with self._sightings.writing() as connection:
            write_state(connection, PREFIX + name, values)

    def camera(self, values: Mapping[str, Any]) -> CameraSettings:
        """The settings of a camera.

        Raises:
            RequestRefused: 422, a value cannot be used; the message quotes none.
        """
        content: dict[str, Any] = {"live": {"networks": self._rules.entries}}
        for key, value in values.items():
            table, name = _GROUPED.get(key, ("", key))
            place = content.setdefault(table, {}) if table else content
            if value is not None:
                place[name] = value
        try:
            return CameraSettings.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the camera"
            raise RequestRefused(
                422, f"{where}: {first['msg'].removeprefix('Value error, ')}"
            ) from None

    def check_url(self, url: str) -> None:
        """Refuse URLs of other kinds, with placeholders, or that lead to refused addresses.

        The same addresses are checked again at each connection.

        Raises:
            RequestRefused: 422.
        """
        if "${" in url:
            raise RequestRefused(422, "the URL has '${…}', which is for the settings file only")
        try:
            scheme, host = url.partition("://")[0].lower(), _host_of(url)
        except ValueError:
            host = None
        if not host or scheme not in SCHEMES:
            raise RequestRefused(422, f"the URL must be one of {', '.join(SCHEMES)} with a host")
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
        except (OSError, ValueError):
            raise RequestRefused(422, "the name of the host is not known (DNS)") from None
        if not all(self._rules.allow(address) for address in found):
            raise RequestRefused(
                422, "server.camera_networks does not allow the address", reason="address"
            )


def with_cameras(settings: Settings, added: Mapping[str, CameraSettings]) -> Settings:
    """The settings with these cameras, too.

    Raises:
        RequestRefused: 422, a name cannot be used; 409, there are too many.
    """
    if len(added) > MOST_CAMERAS:
        raise RequestRefused(409, f"there are {MOST_CAMERAS} cameras already")
    try:
        cameras = check_names({**settings.cameras, **added})
    except ValueError as error:
        raise RequestRefused(422, str(error)) from error
    return settings.model_copy(update={"cameras": cameras})


def _host_of(url: str) -> str | None:
    parts = UrlParts.split(url)
    return urlsplit(f"//{parts.host}").hostname
