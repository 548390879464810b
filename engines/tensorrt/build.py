"""Builds a plan: a network compiled for one GPU architecture, precision and range of shapes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..cards import checksum
from ..checks import check_model_file
from ..errors import BackendUnavailable, BuildFailed, ModelError
from .casting import prepare
from .flavour import Flavour, find_flavour, trt_logger
from .manifest import (
    Manifest,
    ProfileFacts,
    TensorFacts,
    sha256_of_bytes,
)
from .monitor import Progress, watch
from .recipe import Recipe, compute_capability
from .timings import Timings
from .turing import dense_for

__all__ = ["Plan", "Progress", "build_plan"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A serialized engine, as its flavour deserializes it, and what there is to know of it."""

    data: bytes
    manifest: Manifest


def build_plan(
    path: Path, recipe: Recipe, *, progress: Progress | None = None, timings: Path | None = None
) -> Plan:
    """Build a plan; it takes from under a second (TensorRT-RTX) to minutes (TensorRT).

    Args:
        path: the ``.onnx`` network.
        recipe: what to build from it.
        progress: told how far it is.
        timings: file of the timing cache, read and renewed where the flavour has one.

    Raises:
        BackendUnavailable: the recipe's flavour and version are not installed, or cannot build
            for the target here.
        BuildFailed: the builder refused the network, failed, or was stopped.
        ModelError: the network is missing, damaged, or does not fit the recipe.
    """
    check_model_file(path)
    flavour = find_flavour(recipe.flavour)
    if flavour.version != recipe.version:
        raise BackendUnavailable(
            f"the recipe asks for {recipe.flavour} {recipe.version}, {flavour.version} is here"
        )
    started = time.perf_counter()
    onnx_sum = checksum(path)
    model = prepare(path, recipe.precision, recipe.image_input, dense=dense_for(recipe))
    builder = _builder(flavour)
    # The weights lie in the parser until the plan is made.
    network, _parser = _parse(flavour, builder, model, path)
    config = _config(flavour, builder, recipe)
    profiles = _fed_profiles(recipe)
    _add_profiles(builder, config, network, profiles, path)
    kept = Timings(timings) if timings is not None and flavour.keeps_timings else None
    if kept is not None:
        kept.lend(config)
    what = f"{path.name} for {recipe.target} in {recipe.precision}"
    data = _serialized(flavour, builder, network, config, what, progress)
    if kept is not None:
        kept.keep(config)
    facts = Manifest(
        key=recipe.key(onnx_sum),
        network=path.stem,
        parts=recipe.parts(onnx_sum),
        tensors=_tensors(flavour, network),
        profiles=profiles,
        sha256=sha256_of_bytes(data),
        size=len(data),
        build_seconds=round(time.perf_counter() - started, 3),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Plan(data, facts)


def _serialized(
    flavour: Flavour, builder: Any, network: Any, config: Any, what: str, progress: Progress | None
) -> bytes:
    """The plan.

    It is made in a thread of its own: TensorRT calls back into Python from the thread it was
    called in and swallows what that raises, so in the main one a Ctrl-C would get lost.
    """
    messages = trt_logger(flavour)
    messages.problem = ""
    monitor = watch(flavour, config, progress)
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
        raise BuildFailed(f"{flavour.name} {flavour.version} cannot build {what}: {problem}")
    return bytes(built)


def _builder(flavour: Flavour) -> Any:
    try:
        builder = flavour.module.Builder(trt_logger(flavour))
    except (RuntimeError, TypeError) as error:  # TypeError: the factory returned nothing
        raise BackendUnavailable(
            f"{flavour.name} {flavour.version} cannot build here: {error}; it needs an NVIDIA "
            "driver and a GPU"
        ) from error
    return builder


def _parse(flavour: Flavour, builder: Any, model: bytes, path: Path) -> tuple[Any, Any]:
    """The network definition, and the parser that owns its weights."""
    # TensorRT 11 and TensorRT-RTX type every network strongly and ignore the flag.
    kinds = getattr(flavour.module, "NetworkDefinitionCreationFlag", None)
    typed = getattr(kinds, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = flavour.module.OnnxParser(network, trt_logger(flavour))
    if not parser.parse(model):
        errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        raise ModelError(f"{flavour.name} cannot read {path.name}: {'; '.join(errors)}")
    return network, parser


def _config(flavour: Flavour, builder: Any, recipe: Recipe) -> Any:
    config = builder.create_builder_config()
    flags = flavour.module.BuilderFlag
    # TF32 rounds the inputs of float32 products to 10 bits: not what "float32" promises.
    config.clear_flag(flags.TF32)
    user_memory = getattr(flags, "REQUIRE_USER_ALLOCATION", None)
    if user_memory is not None and recipe.shapes.batches:
        # Else TensorRT-RTX may allocate while it runs, and a CUDA graph cannot hold that.
        config.set_flag(user_memory)
    if flavour.targets:
        config.num_compute_capabilities = 1
        major, minor = compute_capability(recipe.target)
        wanted = getattr(flavour.module.ComputeCapability, f"SM{major}{minor}", None)
        if wanted is None or not config.set_compute_capability(wanted, 0):
            raise BackendUnavailable(
                f"{flavour.name} {flavour.version} builds nothing for {recipe.target}, only for "
                f"{', '.join(flavour.targets)}"
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
        ProfileFacts(least=fed(part.least), usual=fed(part.usual), most=fed(part.most))
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
        limits = (facts.least, facts.usual, facts.most)
        fits = all(
            len(shape) == len(own)
            and all(want in (-1, have) for want, have in zip(own, shape, strict=True))
            for shape in limits
        )
        if not fits:
            raise ModelError(
                f"{path.name} takes {tensor.name} {_text(own)}; shapes {facts.least} to "
                f"{facts.most} do not fit"
            )
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *limits)
        if config.add_optimization_profile(profile) < 0:
            raise ModelError(f"{path.name}: no profile from {facts.least} to {facts.most}")


def _tensors(flavour: Flavour, network: Any) -> tuple[TensorFacts, ...]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    kinds = flavour.module.DataType
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
