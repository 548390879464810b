"""Builds missing plans, finds unused ones, and checks the files and results of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..cards import checksum
from ..devices import driver_report
from ..errors import BackendUnavailable, EngineError, ModelError
from ..options import EngineOptions
from ..parity import Gate, Verdict
from ..registry import load_engine
from .build import BuiltPlan, Manifest, Progress, build_plan
from .plans import PlanStore, StoredPlan
from .recipe import Recipe, compute_capability, recipe_for
from .variant import Variant, find_variant

State = Literal["ok", "damaged", "refused"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A network and how it is loaded; other options need another plan."""

    name: str
    path: Path
    options: EngineOptions


@dataclass(frozen=True, slots=True)
class BuildTargets:
    """The builder, and the architectures and cards to build for (no card where none is timed)."""

    variant: Variant
    targets: tuple[tuple[str, str], ...]


def choose_targets(architectures: Sequence[str]) -> BuildTargets:
    """The builder for these architectures; none means the GPU of this machine.

    Raises:
        BackendUnavailable: there is no GPU and no architecture, or TensorRT is not installed or
            does not build for one of them here.
        ValueError: one of them is no architecture.
    """
    for target in architectures:
        compute_capability(target)
    report = driver_report()
    here = report.devices[0] if report.devices else None
    if here is not None and set(architectures) <= {here.architecture}:
        return BuildTargets(find_variant(), ((here.architecture, here.name),))
    if not architectures:
        find_variant()  # without it a target would not help
        raise BackendUnavailable(
            f"no GPU to build for ({report.problem}); name an architecture, e.g. --target sm86"
        )
    variant = find_variant("tensorrt_rtx")
    for target in architectures:
        variant.check_target(target)
    return BuildTargets(variant, tuple((target, "") for target in dict.fromkeys(architectures)))


def build_missing(
    store: PlanStore,
    requests: Sequence[PlanRequest],
    where: BuildTargets,
    progress: Callable[[PlanRequest, Recipe], Progress],
) -> int:
    """Build the plans that the store lacks; returns how many.

    ``progress`` makes the callback of each build.

    Raises:
        BackendUnavailable: a plan cannot be built here, or the folder cannot be written.
        ModelError: a network is missing, damaged, or does not fit its options.
    """
    built = 0

    def counted(path: Path, recipe: Recipe, **rest: Any) -> BuiltPlan:
        nonlocal built
        built += 1
        return build_plan(path, recipe, **rest)

    for target, gpu in where.targets:
        for one in requests:
            recipe = recipe_for(
                one.path, one.options, variant=where.variant, target=target, gpu=gpu
            )
            report = progress(one, recipe)
            store.plan_for(one.path, recipe, progress=report, build=counted)
            report("", 1.0)
    return built


def unused_reason(manifest: Manifest, requests: Mapping[str, PlanRequest]) -> str:
    """Why no network would ask for this plan; empty where one would.

    Its precision, GPU and architecture are not compared: they depend on the machine and settings.
    """
    request = requests.get(manifest.network)
    if request is None:
        return "of a network that is not ours"
    parts = manifest.parts
    onnx_sha256 = checksum(request.path)
    if parts.get("onnx_sha256") != onnx_sha256:
        return "of another network file"
    name: Any = parts.get("flavour")
    try:
        variant = find_variant(name)
    except (BackendUnavailable, ValueError):
        return f"{name} is not installed"
    if parts.get("version") != variant.version:
        return f"of another version; {variant.version} is here"
    precision: Any = parts.get("precision")
    try:
        recipe = recipe_for(
            request.path, request.options, variant=variant, target=str(parts.get("target"))
        )
        recipe = replace(recipe, precision=precision, gpu=str(parts.get("gpu")))
    except (BackendUnavailable, ValueError):
        return "of other shapes or settings"
    return "" if recipe.parts(onnx_sha256) == parts else "of other shapes or settings"


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """The result of checking a plan, or of running an engine.

    Attributes:
        network: its name; empty where a manifest cannot be read.
        what: the plan's key, architecture and precision, or the engine.
        state: ``refused`` by the parity gate.
        detail: what is wrong, or why a plan was not run.
        figures: of the parity gate; empty where nothing was run.
    """

    network: str
    what: str
    state: State
    detail: str = ""
    figures: dict[str, float] = field(default_factory=dict)


def check_plan(
    plan: StoredPlan,
    requests: Mapping[str, PlanRequest],
    gate_of: Callable[[PlanRequest], Gate] | None,
) -> EngineCheck:
    """Compare a plan with its checksum, and run it if this machine can.

    ``gate_of`` gives the parity gate of a network; None runs nothing.
    """
    facts = plan.manifest
    target, precision = str(facts.parts.get("target")), str(facts.parts.get("precision"))
    what = f"{facts.key[:8]} {target} {precision}"
    try:
        plan.read()
    except ModelError as error:
        return EngineCheck(facts.network, what, "damaged", str(error))
    obstacle = _obstacle(facts, requests)
    if obstacle or gate_of is None:
        detail = f"checksum right; not executed: {obstacle or 'only checksums were asked for'}"
        return EngineCheck(facts.network, what, "ok", detail)
    request = requests[facts.network]
    options = replace(request.options, precision=facts.parts["precision"], device="cuda")
    try:
        with load_engine(
            request.path, backend="tensorrt", options=options, cache=plan.path.parent
        ) as engine:
            verdict = gate_of(request).judge(engine)
    except EngineError as error:
        verdict = Verdict({}, (str(error),))
    detail = "; ".join(verdict.refused) or "checksum right, executed"
    state: State = "ok" if verdict.passed else "refused"
    return EngineCheck(facts.network, what, state, detail, dict(verdict.figures))


def _obstacle(facts: Manifest, requests: Mapping[str, PlanRequest]) -> str:
    """Why a plan cannot run here; empty where it can."""
    report = driver_report()
    if not report.devices:
        return f"no GPU here ({report.problem})"
    device = report.devices[0]
    target, gpu = facts.parts.get("target"), facts.parts.get("gpu")
    if device.architecture != target:
        return f"it is for {target}, the GPU here is {device}"
    if gpu not in ("", device.name):
        return f"it is for a {gpu}, the GPU here is {device}"
    return unused_reason(facts, requests)
