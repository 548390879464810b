"""Default folders of the user, also where the user has no home (a container with any user id)."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from ..errors import ConfigError

log = logging.getLogger(__name__)


def default_gallery_path() -> Path:
    """The gallery's file when no path is given: in the user's data folder.

    Raises:
        ConfigError: the user has no home folder.
    """
    return _in_user_data("gallery.db", "a gallery: give --gallery PEOPLE.db, or set HOME")


def default_media_path() -> Path:
    """Where the pictures of databases on servers are kept: in the user's data folder.

    Raises:
        ConfigError: the user has no home folder.
    """
    return _in_user_data("media", "pictures: set storage.media, or HOME")


def default_outbox_path() -> Path:
    """Where messages wait that could not be sent yet: in the user's data folder.

    Raises:
        ConfigError: the user has no home folder.
    """
    return _in_user_data("outbox", "messages: set storage.outbox, or HOME")


def _in_user_data(name: str, problem: str) -> Path:
    try:
        return user_data_path("facestream", appauthor=False) / name
    except RuntimeError as error:
        raise ConfigError(f"this user has no home folder for {problem}") from error


def default_engine_cache() -> Path:
    """The folder of compiled networks: in the user's cache; without a home, for this process."""
    try:
        return user_cache_path("facestream") / "engines"
    except RuntimeError:
        return Path(_temporary_folder().name)


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    # A fixed name in a shared folder could hold networks of another user.
    log.warning(
        "this user has no home folder: compiled networks are not kept; "
        "set HOME or runtime.engine_cache"
    )
    return tempfile.TemporaryDirectory(prefix="facestream-")
