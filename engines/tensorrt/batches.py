"""The batch sizes of a plan that get contexts and CUDA graphs of their own."""

from __future__ import annotations

from ..base import TensorSpec
from ..buckets import Part, split_batch
from .recipe import Recipe

Shape = tuple[int, ...]


class Batches:
    """What is known beforehand of the shapes a plan will be fed.

    Args:
        recipe: of the plan.
        tensors: all of its inputs and outputs.

    Attributes:
        sizes: the batch sizes, ascending; none where more than the batch is free.
        rest: the largest shape, as it is fed, without the batch.
    """

    def __init__(self, recipe: Recipe, tensors: tuple[TensorSpec, ...]) -> None:
        shapes = recipe.shapes
        self._pictures = recipe.image_input is not None
        self.usual = self._fed(shapes.usual)
        self.rest = self._fed(shapes.most)[1:]
        free = all(spec.shape[0] is None for spec in tensors if spec.shape)
        only_batch = shapes.least[1:] == shapes.most[1:]
        low, high = shapes.least[0], shapes.most[0]
        fitting = {size for size in shapes.batches if low <= size <= high}
        self.sizes = tuple(sorted(fitting)) if free and only_batch else ()

    def shapes(self) -> list[Shape]:
        """The shapes that are known, the largest first."""
        return [(size, *self.rest) for size in reversed(self.sizes)]

    def knows(self, shape: Shape) -> bool:
        """Whether it is one of them."""
        return shape[0] in self.sizes and shape[1:] == self.rest

    def parts(self, shape: Shape) -> tuple[Part, ...]:
        """An input of this shape in the sizes that are there, or as it is."""
        if not self.sizes or shape[1:] != self.rest:
            return (Part(0, shape[0], shape[0]),)
        return split_batch(shape[0], self.sizes)

    def _fed(self, shape: Shape) -> Shape:
        """A shape of the network's own input as the plan takes it."""
        if not self._pictures:
            return shape
        batch, channels, height, width = shape
        return (batch, height, width, channels)
