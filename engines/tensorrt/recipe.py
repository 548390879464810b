"""All that a plan depends on, and the key it is stored under."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from ..casting import Dense, FloatPrecision
from ..checks import shape_text
from ..errors import BackendUnavailable, ModelError
from ..onnx_graphs import input_shapes, load
from ..options import EngineOptions, ImageInput, ShapeRange
from .variant import Variant, VariantName

REVISION = 1
"""Of the code that makes plans: raised whenever the same recipe would give another plan."""

# A profile serves batches down to this part of its largest: kernels tuned for 32 pictures do for
# 8, not for one.
_SPAN = 8

# Without shapes from the caller: what a network with a free batch is built for.
_OPT, _MAX = 8, 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a plan is built from, besides the network.

    Attributes:
        precision: of the arithmetic, but for the float32 nodes (see ``casting``).
        shapes: of the network's own only input, before ``image_input``.
        target: GPU architecture, e.g. ``sm86``.
        variant: what builds and runs the plan.
        version: of the variant.
        gpu: name of the card that kernels were timed on; empty where nothing is timed.
        image_input: uint8 images are fed and converted by the plan.
    """

    precision: FloatPrecision
    shapes: ShapeRange
    target: str
    variant: VariantName
    version: str
    gpu: str = ""
    image_input: ImageInput | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(FloatPrecision):
            raise ValueError(
                f"no plan in '{self.precision}'; choose {', '.join(get_args(FloatPrecision))}"
            )
        if compute_capability(self.target) < (8, 0) and self.precision == "bfloat16":
            raise BackendUnavailable(f"{self.target} does not compute bfloat16; use float16")

    @property
    def profiles(self) -> tuple[ShapeRange, ...]:
        """Ranges a plan is tuned for, ascending; together they cover ``shapes`` without gaps."""
        return profiles_of(self.shapes)

    @property
    def dense(self) -> Dense:
        """How dense layers in float32 have to be written for this target."""
        turing = compute_capability(self.target) < (8, 0)
        return "convolution" if turing and self.variant == "tensorrt_rtx" else "product"

    def parts(self, onnx_sha256: str) -> dict[str, Any]:
        """All that distinguishes the plan, ready for JSON; names as in the first plans' keys."""
        parts = asdict(self)
        parts["flavour"] = parts.pop("variant")
        parts["shapes"] = {**_limits(self.shapes), "batches": self.shapes.batches}
        parts["profiles"] = [_limits(profile) for profile in self.profiles]
        parts |= {"onnx_sha256": onnx_sha256, "revision": REVISION}
        plain: dict[str, Any] = json.loads(json.dumps(parts))
        return plain

    def key(self, onnx_sha256: str) -> str:
        """Of the plan built from this recipe and this network: 32 hex digits."""
        return key_of(self.parts(onnx_sha256))


def _limits(shapes: ShapeRange) -> dict[str, tuple[int, ...]]:
    return {"least": shapes.min, "usual": shapes.opt, "most": shapes.max}


def key_of(parts: dict[str, Any]) -> str:
    """The key of a plan with these ``Recipe.parts``."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def profiles_of(shapes: ShapeRange) -> tuple[ShapeRange, ...]:
    """A range of shapes divided by batch size, so that none is far from what it is tuned for.

    Each part spans a factor of 8 of the batch sizes. It is tuned for ``opt`` where that lies in
    it, else for its largest shape. Shapes without ``batches`` stay one part.
    """
    left = sorted({size for size in shapes.batches if size <= shapes.max[0]})
    tops = []
    while left:
        tops.append(left[-1])
        left = [size for size in left if size * _SPAN <= left[-1]]
    tops = [shapes.max[0], *(top for top in tops if top < shapes.max[0])]
    parts: list[ShapeRange] = []
    low = shapes.min[0]
    for top in sorted(tops):
        if top < low:
            continue
        opt = shapes.opt[0] if low <= shapes.opt[0] <= top else top
        parts.append(
            ShapeRange(
                (low, *shapes.min[1:]),
                (opt, *shapes.opt[1:]),
                (top, *shapes.max[1:]),
                tuple(size for size in shapes.batches if low <= size <= top),
            )
        )
        low = top + 1
    return tuple(parts)


def recipe_for(
    path: Path, options: EngineOptions, *, variant: Variant, target: str, gpu: str = ""
) -> Recipe:
    """The recipe of a network with these options, for one architecture.

    Args:
        path: the ``.onnx`` network; read only where the options have no ``shapes``.
        options: ``precision`` auto is float16.
        variant: what builds.
        target: GPU architecture, e.g. ``sm86``.
        gpu: the card's name; left out of the recipe where the variant times nothing.

    Raises:
        BackendUnavailable: the variant cannot build this for that target.
        ModelError: no shapes were given, and the network leaves more than its batch free or
            cannot be read.
    """
    variant.check_target(target)
    precision = "float16" if options.precision == "auto" else options.precision
    if precision == "int8":
        raise BackendUnavailable("tensorrt plans are float32, float16 or bfloat16, not int8")
    return Recipe(
        precision,
        options.shapes or default_shapes(path),
        target,
        variant.name,
        variant.version,
        gpu if variant.keeps_timings else "",
        options.image_input,
    )


def default_shapes(path: Path) -> ShapeRange:
    """Batches of 1 to 32, for a network with one input of which only the batch is free.

    Raises:
        ModelError: it is another network, or none.
    """
    inputs = input_shapes(load(path))
    shape = inputs[0] if len(inputs) == 1 else ()
    if not shape or None in shape[1:]:
        raise ModelError(
            f"a plan of {path.name} needs EngineOptions.shapes: more than the batch of one input "
            f"is free ({', '.join(shape_text(one) for one in inputs)})"
        )
    fixed = tuple(length for length in shape[1:] if length is not None)
    if shape[0] is not None:
        return ShapeRange((shape[0], *fixed), (shape[0], *fixed), (shape[0], *fixed))
    sizes = tuple(1 << power for power in range(_MAX.bit_length()))
    return ShapeRange((1, *fixed), (_OPT, *fixed), (_MAX, *fixed), sizes)


def compute_capability(target: str) -> tuple[int, int]:
    """``(8, 6)`` of ``sm86``, ``(12, 0)`` of ``sm120``.

    Raises:
        ValueError: not an architecture.
    """
    digits = target.removeprefix("sm")
    if digits == target or not digits.isdecimal() or not 2 <= len(digits) <= 3:
        raise ValueError(f"no GPU architecture '{target}'; write it as sm86 or sm120")
    return int(digits[:-1]), int(digits[-1])
