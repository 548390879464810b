"""Named implementations of a protocol: built in, or installed by others as entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, ParamSpec, TypeVar

from .errors import ConfigError

Made = TypeVar("Made")
Args = ParamSpec("Args")


class Registry(Generic[Args, Made]):
    """Factories by name; each is imported when it is asked for.

    A name that is built in wins over an entry point of that name.

    Args:
        what: the kind of thing in an error message, e.g. ``detector``.
        group: the group of entry points, e.g. ``facestream.detectors``.
        built_in: name to ``package.module:attribute``.
    """

    def __init__(self, what: str, group: str, built_in: Mapping[str, str]) -> None:
        self._what = what
        self._group = group
        self._built_in = built_in

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self._built_in, *(point.name for point in entry_points(group=self._group))})

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def load(self, name: str) -> Callable[Args, Made]:
        """The factory of this name.

        Raises:
            ConfigError: there is none, or its package cannot be imported.
        """
        if name in self._built_in:
            module, attribute = self._built_in[name].split(":")
            found: Callable[Args, Made] = getattr(import_module(module), attribute)
            return found
        for point in entry_points(group=self._group, name=name):
            try:
                loaded: Callable[Args, Made] = point.load()
            except Exception as error:
                raise ConfigError(
                    f"the {self._what} {name!r} ({point.value}) cannot be loaded: {error}"
                ) from error
            return loaded
        raise ConfigError(
            f"there is no {self._what} {name!r}; there is {', '.join(self.names())} (packages add "
            f"others through the entry points {self._group!r})"
        )
