"""The batch sizes of a plan, and how other batches are run in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..base import TensorSpec
from .recipe import Recipe

Shape = tuple[int, ...]

# The fixed cost of a run, in rows. A network of 60 kernels takes about 150 µs on a data-centre card
# with few rows; at 60,000 rows a second that is the time of nine rows.
_OVERHEAD = 8


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Rows ``start`` to ``stop`` of a batch, run as ``size`` rows.

    Rows do not depend on each other, so the padding may hold anything.
    """

    start: int
    stop: int
    size: int

    @property
    def rows(self) -> int:
        """How many rows are real."""
        return self.stop - self.start


@lru_cache(maxsize=1024)
def split_batch(count: int, buckets: tuple[int, ...]) -> tuple[BatchPart, ...]:
    """Run ``count`` rows in these batch sizes: the cheapest way of padding and splitting.

    A batch slightly below a size is padded (7 as 8), as one run costs less than two; one far below
    is split (33 of 64: 32 and 1). The way with the fewest rows + ``_OVERHEAD`` per run is taken,
    large parts first.

    Args:
        count: at least 1.
        buckets: at least one batch size, each at least 1; in any order.

    Raises:
        ValueError: out of these ranges.
    """
    if count < 1 or not buckets or min(buckets) < 1:
        raise ValueError(f"cannot run {count} rows in batches of {buckets}")
    sizes = sorted(set(buckets))
    largest = sizes[-1]
    # Far above the largest size, most parts are the largest.
    whole = max(count // largest - 1, 0)
    chosen = [largest] * whole + _cheapest(count - whole * largest, sizes)
    parts: list[BatchPart] = []
    start = 0
    for size in chosen:
        stop = min(start + size, count)
        parts.append(BatchPart(start, stop, size))
        start = stop
    return tuple(parts)


def _cheapest(count: int, sizes: Sequence[int]) -> list[int]:
    """Batch sizes that hold ``count`` rows at the least cost, falling."""
    cost = [0] + [0] * count
    first = [0] * (count + 1)
    for rest in range(1, count + 1):
        ways = ((cost[max(rest - size, 0)] + size + _OVERHEAD, size) for size in sizes)
        cost[rest], first[rest] = min(ways)
    chosen = []
    while count > 0:
        chosen.append(first[count])
        count -= first[count]
    return sorted(chosen, reverse=True)


class Batches:
    """The batch sizes of a plan that have contexts and CUDA graphs of their own.

    Args:
        recipe: of the plan.
        tensors: all of its inputs and outputs.

    Attributes:
        sizes: the batch sizes, ascending; none where more than the batch is dynamic.
        opt: the shape the plan is tuned for, as it is fed.
        rest: the largest shape, as it is fed, without the batch.
    """

    def __init__(self, recipe: Recipe, tensors: tuple[TensorSpec, ...]) -> None:
        shapes = recipe.shapes
        self._images = recipe.image_input is not None
        self.opt = self._fed(shapes.opt)
        self.rest = self._fed(shapes.max)[1:]
        free = all(spec.shape[0] is None for spec in tensors if spec.shape)
        only_batch = shapes.min[1:] == shapes.max[1:]
        low, high = shapes.min[0], shapes.max[0]
        fitting = {size for size in shapes.batches if low <= size <= high}
        self.sizes = tuple(sorted(fitting)) if free and only_batch else ()

    def shapes(self) -> list[Shape]:
        """The shapes of these sizes, the largest first."""
        return [(size, *self.rest) for size in reversed(self.sizes)]

    def __contains__(self, shape: Shape) -> bool:
        return shape[0] in self.sizes and shape[1:] == self.rest

    def parts(self, shape: Shape) -> tuple[BatchPart, ...]:
        """An input of this shape in the plan's sizes, or unchanged where it has none."""
        if not self.sizes or shape[1:] != self.rest:
            return (BatchPart(0, shape[0], shape[0]),)
        return split_batch(shape[0], self.sizes)

    def _fed(self, shape: Shape) -> Shape:
        """A shape of the network's own input as the plan takes it."""
        if not self._images:
            return shape
        batch, channels, height, width = shape
        return (batch, height, width, channels)
