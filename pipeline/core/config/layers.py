"""Layers of settings put together, and what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigError
from .cameras import CameraSettings
from .groups import Group

Json = dict[str, Any]
Model = TypeVar("Model", bound=Group)

CAMERAS = "cameras"

# Keys whose values no message quotes.
SECRETS = frozenset({"url", "sub_url", "token"})


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


def nested(values: Mapping[str, Any]) -> Json:
    """``{"detector.min_face": 20}`` as the TOML file would have it."""
    found: Json = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        if name:
            found.setdefault(group, {})[name] = value
        else:
            found[group] = value
    return found


def validated(layers: Sequence[Layer], model: type[Model]) -> Model:
    """The settings that the layers make; a later one wins.

    Args:
        layers: the first is the lowest.
        model: of all settings.

    Raises:
        ConfigError: a key is unknown or a value cannot be used; secrets are not quoted.
    """
    merged: Json = {}
    origins: dict[str, Layer] = {}
    for layer in layers:
        _check_keys(layer, model)
        for group, values in layer.values.items():
            for key, value in values.items():
                merged.setdefault(group, {})[key] = value
                origins[f"{group}.{key}"] = layer
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        layer = origins.get(".".join(str(part) for part in first["loc"][:2]), layers[-1])
        key, problem = _key(first["loc"]), _problem(first)
        # `from None`: what pydantic says of a camera could hold its password.
        raise ConfigError(f"{layer.called(key)} {layer.origin}: {problem}") from None


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint at the key that was meant."""
    last = word.split(".")[-1]
    same = [key for key in known if key.split(".")[-1] == last]
    found = (
        same
        or get_close_matches(word, known, n=1)
        or [k for k in known if get_close_matches(last, [k.split(".")[-1]], n=1)]
    )
    return f"; did you mean '{found[0]}'?" if found else f"; known are: {', '.join(known)}"


def tables(model: type[BaseModel]) -> Iterator[tuple[str, type[Group]]]:
    """The fields of a model that are groups."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Group):
            yield name, info.annotation


def _key(place: Sequence[str | int]) -> str:
    """``cameras.door.watch[0]``, as deep as a reader can follow; two parts for groups."""
    if place[0] != CAMERAS:
        return ".".join(str(part) for part in place[:2])
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).removeprefix(".")


def _problem(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    message = (message[:1].lower() + message[1:]).replace("input should be", "must be")
    message = message.replace("greater than or equal to", "at least")
    message = message.replace("less than or equal to", "at most")
    value = error["input"]
    secret = isinstance(value, BaseModel | Mapping) or SECRETS & set(error["loc"])
    shown = "" if secret or error["type"] == "value_error" else repr(value)
    return f"{message}, not {shown}" if len(shown) in range(1, 60) else message


def _check_keys(layer: Layer, model: type[BaseModel]) -> None:
    groups = dict(tables(model))
    keys = [f"{group}.{key}" for group, table in groups.items() for key in table.model_fields]
    for group, values in layer.values.items():
        if group not in groups and group not in model.model_fields:
            hint = nearest(group, [*groups, CAMERAS, *keys])
            raise ConfigError(f"unknown key '{group}' {layer.origin}{hint}")
        if not isinstance(values, Mapping):
            example = f"[{CAMERAS}.NAME]" if group == CAMERAS else f"[{group}]"
            raise ConfigError(
                f"'{group}' {layer.origin} is a table: write its keys under {example}"
            )
        if group == CAMERAS:
            _check_cameras(layer, values)
            continue
        for key in values:
            if key not in groups[group].model_fields:
                hint = nearest(f"{group}.{key}", keys)
                raise ConfigError(f"unknown key '{group}.{key}' {layer.origin}{hint}")


def _check_cameras(layer: Layer, cameras: Mapping[str, Any]) -> None:
    inner = dict(tables(CameraSettings))
    for name, camera in cameras.items():
        place = f"{CAMERAS}.{name}"
        if not isinstance(camera, Mapping):
            raise ConfigError(
                f"'{place}' {layer.origin} is a table: write the camera under [{CAMERAS}.NAME]"
            )
        for key, value in camera.items():
            if key not in CameraSettings.model_fields:
                known = [*CameraSettings.model_fields]
                known += [f"{group}.{k}" for group, m in inner.items() for k in m.model_fields]
                raise ConfigError(
                    f"unknown key '{place}.{key}' {layer.origin}{nearest(key, known)}"
                )
            if key not in inner:
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"'{place}.{key}' {layer.origin} is a table: write its keys under "
                    f"[{place}.{key}]"
                )
            for own in value:
                if own not in inner[key].model_fields:
                    hint = nearest(own, list(inner[key].model_fields))
                    raise ConfigError(f"unknown key '{place}.{key}.{own}' {layer.origin}{hint}")
