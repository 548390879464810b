"""What a plan depends on is in its key, and profiles cover the shapes that come."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from facestream.engines.cards import model_path
from facestream.engines.errors import BackendUnavailable, ModelError
from facestream.engines.options import EngineOptions, ImageInput, ShapeRange
from facestream.engines.tensorrt import recipe as recipes
from facestream.engines.tensorrt.recipe import (
    Recipe,
    compute_capability,
    default_shapes,
    key_of,
    profiles_of,
    recipe_for,
)
from facestream.engines.tensorrt.variant import Variant
from hypothesis import given
from hypothesis import strategies as st

SHA = "0" * 64
TEXT = st.text(min_size=1, max_size=12)


def shape_ranges() -> st.SearchStrategy[ShapeRange]:
    sizes = st.integers(1, 300)

    def made(values: tuple[list[int], list[int], int]) -> ShapeRange:
        limits, batches, side = values
        least, usual, most = sorted(limits)
        rest = (3, side, side)
        return ShapeRange((least, *rest), (usual, *rest), (most, *rest), tuple(sorted(batches)))

    limits = st.lists(sizes, min_size=3, max_size=3)
    return st.tuples(limits, st.lists(sizes, max_size=9, unique=True), st.integers(1, 9)).map(made)


def pictures() -> st.SearchStrategy[ImageInput | None]:
    values = st.floats(-300, 300, allow_nan=False).map(lambda x: x + 0.0)  # no -0.0
    orders = st.sampled_from(("RGB", "BGR"))
    made = st.builds(ImageInput, orders, orders, values, values.filter(lambda x: x != 0))
    return st.none() | made


def all_recipes() -> st.SearchStrategy[Recipe]:
    return st.builds(
        Recipe,
        precision=st.sampled_from(("float32", "float16", "bfloat16")),
        shapes=shape_ranges(),
        target=st.sampled_from(("sm80", "sm86", "sm89", "sm90", "sm120")),
        variant=st.sampled_from(("tensorrt", "tensorrt_rtx")),
        version=TEXT,
        gpu=TEXT,
        image_input=pictures(),
    )


@given(all_recipes(), all_recipes(), TEXT, TEXT)
def test_keys_are_equal_where_everything_is_equal(
    one: Recipe, other: Recipe, first: str, second: str
) -> None:
    assert one.key(first) == replace(one).key(first)
    assert (one.key(first) == other.key(second)) == ((one, first) == (other, second))


@given(all_recipes(), all_recipes())
def test_every_part_alone_changes_the_key(one: Recipe, other: Recipe) -> None:
    for name in Recipe.__dataclass_fields__:
        changed = replace(one, **{name: getattr(other, name)})
        differs = getattr(one, name) != getattr(other, name)
        assert (changed.key(SHA) != one.key(SHA)) == differs, name
    assert one.key(SHA) != one.key("1" * 64)


def test_the_keys_of_plans_that_were_built_before_stay(recipe: Recipe) -> None:
    assert recipe.key(SHA) == "6861910c337c6c2212221a9c11ad25ba"


def test_a_new_revision_of_the_builder_is_another_plan(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recipe.key(SHA)
    monkeypatch.setattr(recipes, "REVISION", recipes.REVISION + 1)
    assert recipe.key(SHA) != before


def test_parts_survive_json(recipe: Recipe) -> None:
    import json

    parts: dict[str, Any] = json.loads(json.dumps(recipe.parts(SHA)))
    assert key_of(parts) == recipe.key(SHA)


@given(shape_ranges())
def test_profiles_cover_every_batch_once(shapes: ShapeRange) -> None:
    parts = profiles_of(shapes)
    assert parts[0].min == shapes.min
    assert parts[-1].max == shapes.max
    for before, after in pairwise(parts):
        assert after.min[0] == before.max[0] + 1
    sent = [size for size in shapes.batches if shapes.min[0] <= size <= shapes.max[0]]
    assert [size for part in parts for size in part.batches] == sent
    for part in parts:
        assert all(size * 8 > part.max[0] for size in part.batches)


def test_profiles_of_what_the_encoder_is_sent() -> None:
    shape = (3, 112, 112)
    shapes = ShapeRange((1, *shape), (8, *shape), (32, *shape), (1, 2, 4, 8, 16, 32))
    limits = [(p.min[0], p.opt[0], p.max[0], p.batches) for p in profiles_of(shapes)]
    assert limits == [(1, 4, 4, (1, 2, 4)), (5, 8, 32, (8, 16, 32))]
    assert profiles_of(replace(shapes, batches=())) == (replace(shapes, batches=()),)


def test_a_network_with_a_free_batch_needs_no_shapes() -> None:
    assert default_shapes(model_path("vae_decoder")).max == (32, 256)
    with pytest.raises(ModelError, match=r"N×3×N×N"):
        default_shapes(model_path("mtcnn_pnet"))


@pytest.mark.parametrize("text", ["86", "sm", "sm8", "sm8.6", "sm1200", "SM86", ""])
def test_what_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sm86"):
        compute_capability(text)
    assert compute_capability("sm86") == (8, 6)
    assert compute_capability("sm121") == (12, 1)


class _Module:
    """As much of TensorRT-RTX's module as a recipe looks at."""

    class ComputeCapability:
        __members__ = {"NONE": 0, "CURRENT": 1, "SM75": 2, "SM86": 3}  # noqa: RUF012


def test_a_recipe_is_refused_for_what_cannot_be_built(rnet: Path) -> None:
    variant = Variant("tensorrt_rtx", "1.2.3", _Module)
    assert variant.targets == ("sm75", "sm86")
    auto = EngineOptions()
    made = recipe_for(rnet, auto, variant=variant, target="sm86", gpu="NVIDIA RTX A2000")
    assert (made.precision, made.gpu) == ("float16", "")
    with pytest.raises(BackendUnavailable, match=r"nothing for sm90, only for sm75, sm86"):
        recipe_for(rnet, auto, variant=variant, target="sm90")
    with pytest.raises(BackendUnavailable, match="sm75 does not compute bfloat16"):
        recipe_for(rnet, EngineOptions(precision="bfloat16"), variant=variant, target="sm75")
    with pytest.raises(BackendUnavailable, match="not int8"):
        recipe_for(rnet, EngineOptions(precision="int8"), variant=variant, target="sm86")


def test_tensorrt_itself_times_kernels_on_a_card(rnet: Path) -> None:
    variant = Variant("tensorrt", "11.4.1", _Module)
    assert variant.targets == ()
    made = recipe_for(rnet, EngineOptions(), variant=variant, target="sm90", gpu="NVIDIA H100")
    assert made.gpu == "NVIDIA H100"
