"""The topics: names of cameras as parts of topics, and what is published where."""

from __future__ import annotations

import hashlib
import re

from ...core.filenames import slug

_ID = re.compile(r"[^A-Za-z0-9_-]")


def topic_part(name: str) -> str:
    """A name as one level of a topic: letters, digits, ``.``, ``_`` and ``-``.

    What had to be changed ends with a part of its hash, so that two names stay two topics.
    """
    clean = slug(name.encode("utf-8", "replace").decode("utf-8"))
    return clean if clean == name else f"{clean}-{_short(name)}"


def object_id(text: str) -> str:
    """The same for Home Assistant's discovery, which allows ASCII letters, digits, _ and - only."""
    clean = _ID.sub("-", text)
    return clean if clean == text else f"{clean}-{_short(text)}"


class Topics:
    """The topics below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.status = f"{prefix}/status"
        self.event = f"{prefix}/event"
        self.commands = f"{prefix}/+/set"

    def camera(self, name: str, leaf: str) -> str:
        """Of a camera, e.g. its ``person``."""
        return f"{self.prefix}/{topic_part(name)}/{leaf}"

    def person(self, number: int, leaf: str) -> str:
        """Of a person of the gallery: ``presence``, ``attributes``."""
        return f"{self.prefix}/person/{number}/{leaf}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]
