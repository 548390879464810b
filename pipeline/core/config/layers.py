"""Layers of settings: reading, merging, and one-line errors that name where a value came from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from ..user_key import ENVIRONMENT as USER_KEY
from .cameras import CameraSettings
from .groups import Group
from .notify import WebhookSettings

Model = TypeVar("Model", bound=BaseModel)

CAMERAS = "cameras"
WEBHOOKS = "webhooks"
ENVIRONMENT_PREFIX = "FACESTREAM_"

# Keys whose values no message quotes.
_SECRETS = frozenset({"url", "sub_url", "token", "username", "password", "secret"})
_NO_TABLE = frozenset({"model_type", "dict_type"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings.

    Attributes:
        origin: its place in messages, e.g. ``in camera.toml`` or ``on the command line``.
        values: nested as in the TOML file.
        names: a dotted key as the user wrote it (a flag, a variable), where it differs.
    """

    origin: str
    values: dict[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)


def from_keys(origin: str, values: Mapping[str, Any], names: Mapping[str, str]) -> Layer:
    """The layer of dotted keys, e.g. ``{"detector.min_face": 20}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        group, dot, name = key.partition(".")
        if dot:
            found.setdefault(group, {})[name] = value
        else:
            found[group] = value
    return Layer(origin, found, names)


def from_file(path: Path) -> Layer:
    """The layer of a TOML file, not validated.

    Raises:
        ConfigError: it is missing, unreadable or not TOML.
    """
    try:
        return Layer(f"in {path}", tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the settings file {path} is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"the settings file {path} has too many brackets in brackets") from error


def from_environment(environment: Mapping[str, str], known: Mapping[str, str]) -> Layer:
    """The layer of the environment; values are written as in TOML, quotes may be left out.

    ``known`` maps the name of a variable to a dotted key.

    Raises:
        ConfigError: a variable begins with ``FACESTREAM_`` and is not known.
    """
    values: dict[str, Any] = {}
    for name, text in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == USER_KEY:
            continue
        if name not in known:
            hint = _nearest(name, list(known))
            raise ConfigError(f"unknown environment variable {name}{hint}")
        try:
            values[known[name]] = tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            values[known[name]] = text
    return from_keys("in the environment", values, {key: name for name, key in known.items()})


def validated(layers: Sequence[Layer], model: type[Model]) -> Model:
    """The settings of the layers, merged by the keys of each table; a later layer wins.

    Raises:
        ConfigError: a key is unknown or a value cannot be used; secrets are not quoted.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        for group, values in layer.values.items():
            origins.setdefault(group, layer)
            if not isinstance(values, Mapping):
                merged[group], origins[group] = values, layer
            elif isinstance(table := merged.setdefault(group, {}), dict):
                table.update(_deeper(table, values))
                origins.update((f"{group}.{key}", layer) for key in values)
    try:
        return model.model_validate(merged)
    except ValidationError as caught:
        errors = caught.errors(include_url=False)
        # An unknown key explains other errors, such as a missing value: it comes first.
        errors.sort(key=lambda error: error["type"] not in {"extra_forbidden", *_NO_TABLE})
        place = [str(part) for part in errors[0]["loc"]]
        layer = origins.get(".".join(place[:2])) or origins.get(place[0]) or layers[-1]
        # `from None`: pydantic's message could contain the password of a camera.
        raise ConfigError(_message(errors[0], layer, model)) from None


def _deeper(table: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values; a table in a table is merged with the one that is there."""
    return {
        key: {**table[key], **value}
        if isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        else value
        for key, value in values.items()
    }


def tables(model: type[BaseModel]) -> Iterator[tuple[str, type[Group]]]:
    """The fields of a model that are groups."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield name, info.annotation


def dotted_keys(model: type[BaseModel]) -> list[str]:
    """Every setting of the groups of a model, e.g. ``detector.min_face``."""
    return [f"{name}.{key}" for name, group in tables(model) for key in group.model_fields]


def _message(error: Any, layer: Layer, model: type[BaseModel]) -> str:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        hint = _nearest(*_candidates([str(part) for part in place], model))
        return f"unknown key '{'.'.join(map(str, place))}' {layer.origin}{hint}"
    if error["type"] in _NO_TABLE:
        key = ".".join(map(str, place))
        table = f"{CAMERAS}.NAME" if key == CAMERAS else key
        return f"'{key}' {layer.origin} is a table: write its keys under [{table}]"
    if place[0] in (CAMERAS, WEBHOOKS):
        parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
        key = "".join(parts).removeprefix(".")
    else:
        # A number is the place in a list.
        key = ".".join(str(part) for part in place[:3] if not isinstance(part, int))
    return f"{layer.names.get(key, key)} {layer.origin}: {_problem(error)}"


def _problem(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    message = (message[:1].lower() + message[1:]).replace("input should be", "must be")
    message = message.replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most")
    value = error["input"]
    secret = isinstance(value, BaseModel | Mapping) or _SECRETS & set(error["loc"])
    shown = "" if secret or error["type"] == "value_error" else repr(value)
    return f"{message}, not {shown}" if len(shown) in range(1, 60) else message


def _candidates(place: Sequence[str], model: type[BaseModel]) -> tuple[str, list[str]]:
    """An unknown key as it is compared with the known ones, and those."""
    if place[0] == WEBHOOKS and len(place) > 1:
        return place[-1], list(WebhookSettings.model_fields)
    if place[0] != CAMERAS:
        return ".".join(place), [*model.model_fields, *dotted_keys(model)]
    if len(place) < 4:
        return place[-1], [*CameraSettings.model_fields, *dotted_keys(CameraSettings)]
    return place[-1], list(dict(tables(CameraSettings))[place[2]].model_fields)


def _nearest(word: str, known: Sequence[str]) -> str:
    last = word.split(".")[-1]
    found = (
        [key for key in known if key.split(".")[-1] == last]
        or get_close_matches(word, known, n=1)
        or [key for key in known if get_close_matches(last, [key.split(".")[-1]], n=1)]
    )
    return f"; did you mean '{found[0]}'?" if found else f"; known are: {', '.join(known)}"
