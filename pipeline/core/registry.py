"""Named implementations of a protocol: built in, registered, or entry points of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from .errors import ConfigError, FacestreamError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Made = TypeVar("Made")
Args = ParamSpec("Args")


def _entry_points(group: str) -> Iterable[EntryPoint]:
    # A tenth of the start of a decoder's process, which asks for none.
    from importlib.metadata import entry_points

    return entry_points(group=group)


class Registry(Generic[Args, Made]):
    """Factories by name; each is imported when it is loaded.

    A name that is built in or registered wins over an entry point of that name.

    Args:
        what: the kind of thing in an error message, e.g. ``detector``.
        group: the group of entry points, e.g. ``facestream.detectors``.
        built_in: name to ``package.module:attribute``.
        error: raised where there is no such factory.
    """

    def __init__(
        self,
        what: str,
        group: str,
        built_in: Mapping[str, str] = MappingProxyType({}),
        *,
        error: Callable[[str], FacestreamError] = ConfigError,
    ) -> None:
        self._what = what
        self._group = group
        self._built_in = built_in
        self._error = error
        self._registered: dict[str, Callable[Args, Made]] = {}

    def register(self, name: str, factory: Callable[Args, Made]) -> None:
        """Register a factory for the rest of the process."""
        self._registered[name] = factory

    def names(self) -> list[str]:
        """All names, sorted."""
        points = _entry_points(self._group)
        return sorted({*self._built_in, *self._registered, *(point.name for point in points)})

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def load(self, name: str) -> Callable[Args, Made]:
        """The factory of this name.

        Raises:
            FacestreamError: there is none, or it cannot be loaded.
        """
        if name in self._registered:
            return self._registered[name]
        if name in self._built_in:
            module, attribute = self._built_in[name].split(":")
            found: Callable[Args, Made] = getattr(import_module(module), attribute)
            return found
        for point in _entry_points(self._group):
            if point.name != name:
                continue
            where = f"the {self._what} {name!r} ({point.value})"
            try:
                loaded: Callable[Args, Made] = point.load()
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                raise self._error(f"{where} cannot be loaded: {why}") from error
            if not callable(loaded):
                raise self._error(f"{where} is not callable")
            return loaded
        known = ", ".join(self.names()) or "none"
        raise self._error(
            f"there is no {self._what} {name!r}; there is {known} (packages add others through the "
            f"entry points {self._group!r})"
        )
