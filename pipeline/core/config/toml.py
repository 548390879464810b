"""Settings as a TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from pydantic import SecretStr

from .cameras import CameraSettings
from .layers import tables
from .settings import Settings
from .urls import CameraUrl

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(settings: Settings) -> str:
    """The settings as a TOML file with a comment on each."""
    lines = ["# facestream settings"]
    for group, model in tables(Settings):
        lines += ["", *(f"# {line}" for line in _help(model.__doc__ or "", "")), f"[{group}]"]
        values = getattr(settings, group)
        for key, info in model.model_fields.items():
            lines += [f"# {line}" for line in _help(info.description or "", _limits(info))]
            value = getattr(values, key)
            unset = value is None or isinstance(value, SecretStr)
            lines.append(f"# {key} =" if unset else f"{key} = {_toml_value(value)}")
    for name, camera in settings.cameras.items():
        lines += ["", *_camera(name, camera)]
    return "\n".join(lines) + "\n"


def _camera(name: str, camera: CameraSettings) -> Iterator[str]:
    """What is set of a camera; a password that was written out is hidden."""
    table = f"cameras.{name}" if _BARE.fullmatch(name) else f"cameras.{_text(name)}"
    yield f"[{table}]"
    inner = dict(tables(CameraSettings))
    for key in CameraSettings.model_fields:
        if key in camera.model_fields_set and key not in inner:
            value = getattr(camera, key)
            if value is not None:
                yield f"{key} = {_toml_value(value)}"
    for key, group in inner.items():
        values = getattr(camera, key)
        given = [k for k in group.model_fields if k in values.model_fields_set]
        given = [k for k in given if getattr(values, k) is not None]
        if given:
            yield f"[{table}.{key}]"
            yield from (f"{k} = {_toml_value(getattr(values, k))}" for k in given)


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
    if isinstance(value, str | CameraUrl):
        return _text(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _text(text: str) -> str:
    # A basic string of TOML has JSON's escapes, and DEL besides.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
