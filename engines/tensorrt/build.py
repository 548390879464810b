"""Builds a plan: a network compiled for one GPU architecture, precision and range of shapes."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..cards import StrictModel, checksum
from ..casting import prepare
from ..checks import check_model_file
from ..errors import BackendUnavailable, BuildFailed, InferenceError, ModelError
from ..files import write_atomically
from ..private_files import read_known
from .recipe import Recipe
from .variant import Variant, find_variant, trt_logger

log = logging.getLogger(__name__)

Progress = Callable[[str, float], bool | None]
"""Called with the phase and the share of it that is done, 0..1, from TensorRT's own threads;
returning False stops the build."""


class TensorFacts(StrictModel):
    """An input or output of a plan; shape None = any length."""

    name: str
    mode: Literal["input", "output"]
    shape: tuple[int | None, ...]
    dtype: str


class ProfileFacts(StrictModel):
    """Shapes of the only input, as the plan takes it, that one profile serves.

    The file uses the names of the first plans.
    """

    min: tuple[int, ...] = Field(alias="least")
    opt: tuple[int, ...] = Field(alias="usual")
    max: tuple[int, ...] = Field(alias="most")


class Manifest(StrictModel):
    """The file beside a plan: what it was built from, its tensors and its profiles.

    Attributes:
        format: of this file.
        key: names the plan; the hash of ``parts``.
        network: file stem of the ONNX network.
        parts: what the plan depends on, see ``Recipe.parts``.
        tensors: inputs first, each in the network's order.
        profiles: ascending; the first that holds a shape serves it.
        sha256: of the plan, in hex.
        size: of the plan, in bytes.
        build_seconds: how long it took.
        created: ISO 8601, UTC.
    """

    format: Literal[1] = 1
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    network: str = Field(pattern=r"^[^/]+$")
    parts: dict[str, Any]
    tensors: tuple[TensorFacts, ...]
    profiles: tuple[ProfileFacts, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(gt=0)
    build_seconds: float = Field(ge=0)
    created: str

    @property
    def created_at(self) -> datetime:
        """When the plan was built."""
        return datetime.fromisoformat(self.created)

    def profile_for(self, shape: tuple[int, ...]) -> int:
        """Index of the profile that serves an input of this shape.

        Raises:
            InferenceError: none does; names the limits.
        """
        for index, profile in enumerate(self.profiles):
            limits = zip(profile.min, shape, profile.max, strict=False)
            if len(shape) == len(profile.min) and all(a <= b <= c for a, b, c in limits):
                return index
        low, high = self.profiles[0].min, self.profiles[-1].max
        raise InferenceError(f"{self.network} takes shapes from {low} to {high}, not {shape}")


def sha256_of_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class BuiltPlan:
    """A serialized engine and its manifest."""

    data: bytes
    manifest: Manifest


def build_plan(
    path: Path, recipe: Recipe, *, progress: Progress | None = None, timings: Path | None = None
) -> BuiltPlan:
    """Build a plan; it takes from under a second (TensorRT-RTX) to minutes (TensorRT).

    Args:
        path: the ``.onnx`` network.
        recipe: what to build from it.
        progress: called with the progress.
        timings: file of the timing cache, read and renewed where the variant has one.

    Raises:
        BackendUnavailable: the recipe's variant and version are not installed, or cannot build
            for the target here.
        BuildFailed: the builder refused the network, failed, or was stopped.
        ModelError: the network is missing, damaged, or does not fit the recipe.
    """
    check_model_file(path)
    variant = find_variant(recipe.variant)
    if variant.version != recipe.version:
        raise BackendUnavailable(
            f"the recipe asks for {recipe.variant} {recipe.version}, {variant.version} is here"
        )
    started = time.perf_counter()
    onnx_sum = checksum(path)
    model = prepare(path, recipe.precision, recipe.image_input, dense=recipe.dense)
    builder = _builder(variant)
    # The weights lie in the parser until the plan is made.
    network, _parser = _parse(variant, builder, model, path)
    config = _config(variant, builder, recipe)
    profiles = _fed_profiles(recipe)
    _add_profiles(builder, config, network, profiles, path)
    if not variant.keeps_timings:
        timings = None
    if timings is not None:
        load_timings(timings, config)
    what = f"{path.name} for {recipe.target} in {recipe.precision}"
    data = _serialized(variant, builder, network, config, what, progress)
    if timings is not None:
        save_timings(timings, config)
    facts = Manifest(
        key=recipe.key(onnx_sum),
        network=path.stem,
        parts=recipe.parts(onnx_sum),
        tensors=_tensors(variant, network),
        profiles=profiles,
        sha256=sha256_of_bytes(data),
        size=len(data),
        build_seconds=round(time.perf_counter() - started, 3),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return BuiltPlan(data, facts)


def _serialized(
    variant: Variant, builder: Any, network: Any, config: Any, what: str, progress: Progress | None
) -> bytes:
    """The plan.

    It is made in its own thread: TensorRT calls back into Python from the thread it was
    called in and swallows what that raises, so in the main one a Ctrl-C would get lost.
    """
    messages = trt_logger(variant)
    messages.problem = ""
    monitor = watch(variant, config, progress)
    with ThreadPoolExecutor(1, thread_name_prefix="tensorrt-build") as thread:
        building = thread.submit(builder.build_serialized_network, network, config)
        try:
            built = building.result()
        except BaseException:
            monitor.stopped = True
            raise
    if monitor.raised is not None:
        raise monitor.raised
    if monitor.stopped:
        raise BuildFailed(f"the build of {what} was stopped")
    if built is None:
        problem = messages.problem or "it gives no reason"
        raise BuildFailed(f"{variant.name} {variant.version} cannot build {what}: {problem}")
    return bytes(built)


def _builder(variant: Variant) -> Any:
    try:
        builder = variant.module.Builder(trt_logger(variant))
    except (RuntimeError, TypeError) as error:  # TypeError: the factory returned nothing
        raise BackendUnavailable(
            f"{variant.name} {variant.version} cannot build here: {error}; it needs an NVIDIA "
            "driver and a GPU"
        ) from error
    return builder


def _parse(variant: Variant, builder: Any, model: bytes, path: Path) -> tuple[Any, Any]:
    """The network definition, and the parser that owns its weights."""
    # TensorRT 11 and TensorRT-RTX type every network strongly and ignore the flag.
    kinds = getattr(variant.module, "NetworkDefinitionCreationFlag", None)
    typed = getattr(kinds, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = variant.module.OnnxParser(network, trt_logger(variant))
    if not parser.parse(model):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise ModelError(f"{variant.name} cannot read {path.name}: {'; '.join(errors)}")
    return network, parser


def _config(variant: Variant, builder: Any, recipe: Recipe) -> Any:
    config = builder.create_builder_config()
    flags = variant.module.BuilderFlag
    # TF32 rounds the inputs of float32 products to 10 bits: not what "float32" promises.
    config.clear_flag(flags.TF32)
    user_memory = getattr(flags, "REQUIRE_USER_ALLOCATION", None)
    if user_memory is not None and recipe.shapes.batches:
        # Else TensorRT-RTX may allocate while it runs, and a CUDA graph cannot hold that.
        config.set_flag(user_memory)
    if variant.targets:
        config.num_compute_capabilities = 1
        variant.check_target(recipe.target)
        wanted = getattr(variant.module.ComputeCapability, recipe.target.upper())
        if not config.set_compute_capability(wanted, 0):
            raise BackendUnavailable(f"{variant.name} {variant.version} refuses {recipe.target}")
    return config


def _fed_profiles(recipe: Recipe) -> tuple[ProfileFacts, ...]:
    """The recipe's profiles in the shapes that are fed."""

    def fed(shape: tuple[int, ...]) -> tuple[int, ...]:
        if recipe.image_input is None:
            return shape
        batch, channels, height, width = shape
        return (batch, height, width, channels)

    return tuple(
        ProfileFacts(least=fed(part.min), usual=fed(part.opt), most=fed(part.max))
        for part in recipe.profiles
    )


def _add_profiles(
    builder: Any, config: Any, network: Any, profiles: tuple[ProfileFacts, ...], path: Path
) -> None:
    if network.num_inputs != 1:
        raise ModelError(f"{path.name} has {network.num_inputs} inputs; a plan is built for one")
    tensor = network.get_input(0)
    own = tuple(tensor.shape)
    for facts in profiles:
        limits = (facts.min, facts.opt, facts.max)
        fits = all(
            len(shape) == len(own)
            and all(want in (-1, have) for want, have in zip(own, shape, strict=True))
            for shape in limits
        )
        if not fits:
            raise ModelError(
                f"{path.name} takes {tensor.name} {_text(own)}; shapes {facts.min} to "
                f"{facts.max} do not fit"
            )
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *limits)
        if config.add_optimization_profile(profile) < 0:
            raise ModelError(f"{path.name}: no profile from {facts.min} to {facts.max}")


def _tensors(variant: Variant, network: Any) -> tuple[TensorFacts, ...]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    kinds = variant.module.DataType
    names = {
        kinds.FLOAT: "float32",
        kinds.HALF: "float16",
        kinds.BF16: "bfloat16",
        kinds.UINT8: "uint8",
        kinds.INT32: "int32",
        kinds.INT64: "int64",
    }
    return tuple(
        TensorFacts(
            name=tensor.name,
            mode="input" if tensor.is_network_input else "output",
            shape=tuple(None if length < 0 else length for length in tensor.shape),
            dtype=names.get(tensor.dtype, str(tensor.dtype)),
        )
        for tensor in [*inputs, *outputs]
    )


def _text(shape: tuple[int, ...]) -> str:
    return "×".join("N" if length < 0 else str(length) for length in shape)


def watch(variant: Variant, config: Any, progress: Progress | None) -> Any:
    """Report the outermost phases of the build that ``config`` starts to ``progress``.

    Returns:
        An object that must live as long as the build. Setting ``stopped``, as ``progress`` does by
        returning False, ends TensorRT's build soon (TensorRT-RTX's goes to its end); ``raised``
        holds what ``progress`` raised.
    """

    class Monitor(variant.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}  # of the outermost phases
            # TensorRT-RTX 1.7 was seen to end the whole process when a build is stopped (an
            # exception of its own that it does not catch); its builds take a second or two.
            self._breaks_off = variant.name == "tensorrt"
            self.stopped = False
            self.raised: BaseException | None = None

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._steps[name] = steps
                self._report(name, 0)

        def step_complete(self, name: str, step: int) -> bool:
            self._report(name, step + 1)
            return not (self.stopped and self._breaks_off)

        def phase_finish(self, name: str) -> None:
            self._report(name, self._steps.get(name, 0))
            self._steps.pop(name, None)

        def _report(self, name: str, step: int) -> None:
            if progress is None or name not in self._steps:
                return
            steps = self._steps[name]
            try:
                if progress(name, min(step / steps, 1.0) if steps else 1.0) is False:
                    self.stopped = True
            # TensorRT's own frames, which are between, would swallow it.
            except BaseException as error:  # noqa: BLE001  # raised again after the build
                self.raised = error
                self.stopped = True

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


def load_timings(path: Path, config: Any) -> None:
    """Give the builder the timing cache of a file; one that it refuses is replaced.

    The cache holds kernel times of one card and version, for later builds.
    """
    timings = config.create_timing_cache(read_known(path))
    if timings is None or not config.set_timing_cache(timings, False):
        log.warning("the timing cache %s is of another card or damaged: replaced", path)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def save_timings(path: Path, config: Any) -> None:
    """Write the builder's timing cache."""
    timings = config.get_timing_cache()
    if timings is not None:
        write_atomically(path, bytes(timings.serialize()))
