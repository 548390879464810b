"""Builds a plan: a network compiled for one GPU architecture, precision and range of shapes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..cards import checksum
from ..casting import prepare
from ..checks import check_model_file
from ..errors import BackendUnavailable, BuildFailed, ModelError
from ..files import write_atomically
from .manifest import Manifest, ProfileFacts, TensorFacts, sha256_of_bytes
from .recipe import Recipe, compute_capability
from .variant import Variant, find_variant, trt_logger

log = logging.getLogger(__name__)

Progress = Callable[[str, float], bool | None]
"""Told the phase and the share of it that is done, 0..1, from TensorRT's own threads; returning
False stops the build."""


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
    cache = TimingCache(timings) if timings is not None and variant.keeps_timings else None
    if cache is not None:
        cache.load(config)
    what = f"{path.name} for {recipe.target} in {recipe.precision}"
    data = _serialized(variant, builder, network, config, what, progress)
    if cache is not None:
        cache.save(config)
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
        major, minor = compute_capability(recipe.target)
        wanted = getattr(variant.module.ComputeCapability, f"SM{major}{minor}", None)
        if wanted is None or not config.set_compute_capability(wanted, 0):
            raise BackendUnavailable(
                f"{variant.name} {variant.version} builds nothing for {recipe.target}, only for "
                f"{', '.join(variant.targets)}"
            )
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
    """Tell ``progress`` of the outermost phase of the build that is begun with ``config``.

    Returns:
        An object that is to live as long as the build: TensorRT's ends soon after ``stopped`` is
        set (TensorRT-RTX's goes to its end), as it is when ``progress`` returns False; ``raised``
        holds what ``progress`` raised.
    """

    class Monitor(variant.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._steps: dict[str, int] = {}
            self._lock = threading.Lock()
            # TensorRT-RTX 1.7 was seen to end the whole process when a build is stopped (an
            # exception of its own that it does not catch); its builds take a second or two.
            self._breaks_off = variant.name == "tensorrt"
            self.stopped = False
            self.raised: BaseException | None = None

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if not parent:
                with self._lock:
                    self._steps[name] = steps
                self._tell(name, 0.0)

        def step_complete(self, name: str, step: int) -> bool:
            with self._lock:
                steps = self._steps.get(name)
            if steps:
                self._tell(name, min((step + 1) / steps, 1.0))
            return not (self.stopped and self._breaks_off)

        def phase_finish(self, name: str) -> None:
            with self._lock:
                known = self._steps.pop(name, None)
            if known is not None:
                self._tell(name, 1.0)

        def _tell(self, name: str, share: float) -> None:
            if progress is None:
                return
            try:
                if progress(name, share) is False:
                    self.stopped = True
            # TensorRT's own frames, which are between, would swallow it.
            except BaseException as error:  # noqa: BLE001  # raised again after the build
                self.raised = error
                self.stopped = True

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor


class TimingCache:
    """TensorRT's timing cache in a file: kernel times of one card and version, for later builds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, config: Any) -> None:
        """Give the builder the file's times; a file it refuses is replaced."""
        try:
            known = self._path.read_bytes()
        except FileNotFoundError:
            known = b""
        timings = config.create_timing_cache(known)
        if timings is None or not config.set_timing_cache(timings, False):
            log.warning("the timing cache %s is of another card or damaged: replaced", self._path)
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def save(self, config: Any) -> None:
        """Write the builder's times."""
        timings = config.get_timing_cache()
        if timings is not None:
            write_atomically(self._path, bytes(timings.serialize()))
