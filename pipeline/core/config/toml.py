"""Settings as a TOML file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import SecretStr

from ..location import DatabaseUrl
from .groups import Group
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
        # The given keys; passwords are redacted.
        table = f"cameras.{name if _BARE.fullmatch(name) else _text(name)}"
        given = camera.model_dump(exclude_unset=True)
        groups = {key: given.pop(key) for key in list(given) if isinstance(given[key], dict)}
        lines += ["", f"[{table}]", *_lines(given)]
        for key, values in groups.items():
            if inner := _lines(values):
                lines += [f"[{table}.{key}]", *inner]
    for webhook in settings.webhooks:
        given = webhook.model_dump(exclude_unset=True)
        lines += ["", "[[webhooks]]", *_lines(given)]
    return "\n".join(lines) + "\n"


def _lines(values: dict[str, Any]) -> list[str]:
    return [
        f"# {key} =" if isinstance(value, SecretStr) else f"{key} = {_toml_value(value)}"
        for key, value in values.items()
        if value is not None
    ]


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
    if isinstance(value, str | Path | CameraUrl | DatabaseUrl):
        return _text(str(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Group):  # a table in a table
        given = {key: one for key, one in value if one is not None}
        return "{" + ", ".join(f"{key} = {_toml_value(one)}" for key, one in given.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def _text(text: str) -> str:
    # A basic string of TOML has JSON's escapes, and DEL besides.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
