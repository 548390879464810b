"""What was used lately is kept; what comes next is begun early."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key, the least recently used going when there are more than ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key; made where there is none."""
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Keep nothing."""
        self._values.clear()


def one_ahead(values: Iterable[Value]) -> Iterator[Value]:
    """The same values, each taken before the one before it is given."""
    taken: list[Value] = []
    for value in values:
        taken.append(value)
        if len(taken) > 1:
            yield taken.pop(0)
    yield from taken
