"""Where settings come from: a file, the environment, the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from ..errors import ConfigError
from .layers import (
    Json,
    Layer,
    nearest,
    nested,
    validated,
)
from .settings import Settings, setting_keys

ENVIRONMENT_PREFIX = "FACESTREAM_"


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
        layers.append(Layer("on the command line", nested(given), names))
    return validated(layers, Settings)


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
            hint = nearest(name, list(known))
            raise ConfigError(f"unknown environment variable {name}{hint}")
        try:
            values[known[name]] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[known[name]] = text
    names = {key: name for name, key in known.items()}
    return Layer("in the environment", nested(values), names)


def default_gallery_path() -> Path:
    """Where the gallery is kept when no path is given: in the user's data folder."""
    return Path(platformdirs.user_data_path("facestream", appauthor=False)) / "gallery.db"
