"""The plans a program needs: missing ones built, stale ones found, files and results checked."""

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
from .build import Plan, Progress, build_plan
from .manifest import Manifest
from .plans import PlanStore, StoredPlan
from .recipe import Recipe, compute_capability, recipe_for
from .variant import Variant, VariantName, find_variant

State = Literal["ok", "damaged", "refused"]


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """A network and how it is loaded; other options need another plan."""

    name: str
    path: Path
    options: EngineOptions


@dataclass(frozen=True, slots=True)
class BuildTargets:
    """What builds, and for which architectures and cards (empty where none is timed)."""

    variant: Variant
    targets: tuple[tuple[str, str], ...]


def choose_targets(architectures: Sequence[str]) -> BuildTargets:
    """What builds for these architectures; none means the GPU of this machine.

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
        if target not in variant.targets:
            raise BackendUnavailable(
                f"{variant.name} {variant.version} builds nothing for {target}, only for "
                f"{', '.join(variant.targets)}; for others run tensorrt on such a GPU, without "
                "--target"
            )
    return BuildTargets(variant, tuple((target, "") for target in dict.fromkeys(architectures)))


def build_missing(
    store: PlanStore,
    requests: Sequence[PlanRequest],
    where: BuildTargets,
    progress: Callable[[PlanRequest, Recipe], Progress],
) -> int:
    """Build the plans that are not in the store yet; returns how many.

    Args:
        store: of the plans.
        requests: the networks.
        where: the builder, and what each network is built for.
        progress: makes the callback of one build.

    Raises:
        BackendUnavailable: a plan cannot be built here, or the folder cannot be written.
        ModelError: a network is missing, damaged, or does not fit its options.
    """
    built = 0

    def counted(path: Path, recipe: Recipe, **rest: Any) -> Plan:
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


class Staleness:
    """Compares plans with those that would be built now.

    Args:
        requests: by name.
    """

    def __init__(self, requests: Mapping[str, PlanRequest]) -> None:
        self._requests = requests
        self._checksums = {name: checksum(one.path) for name, one in requests.items()}
        self._variants: dict[str, Variant | None] = {}

    def reason(self, manifest: Manifest) -> str:
        """Why a plan is not requested any more; empty where it is.

        Its precision, GPU and architecture are not compared: they depend on the machine and its
        settings.
        """
        request = self._requests.get(manifest.network)
        if request is None:
            return "of a network that is not ours"
        parts = manifest.parts
        if parts.get("onnx_sha256") != self._checksums[manifest.network]:
            return "of another network file"
        variant = self._variant(str(parts.get("flavour")))
        if variant is None:
            return f"{parts.get('flavour')} is not installed"
        if parts.get("version") != variant.version:
            return f"of another version; {variant.version} is here"
        return "" if self._same(manifest, request, variant) else "of other shapes or settings"

    def _same(self, manifest: Manifest, request: PlanRequest, variant: Variant) -> bool:
        parts = manifest.parts
        precision: Any = parts.get("precision")
        try:
            recipe = recipe_for(
                request.path, request.options, variant=variant, target=str(parts.get("target"))
            )
            recipe = replace(recipe, precision=precision, gpu=str(parts.get("gpu")))
        except (BackendUnavailable, ValueError):
            return False
        now: dict[str, Any] = recipe.parts(self._checksums[manifest.network])
        return now == parts

    def _variant(self, name: str) -> Variant | None:
        if name not in self._variants:
            try:
                known: VariantName = "tensorrt" if name == "tensorrt" else "tensorrt_rtx"
                self._variants[name] = find_variant(known) if name == known else None
            except BackendUnavailable:
                self._variants[name] = None
        return self._variants[name]


@dataclass(frozen=True, slots=True)
class CheckResult:
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


class PlanChecker:
    """Compares plans with their checksums, and runs those that this machine can run.

    Args:
        store: of the plans.
        requests: by name.
        gate_of: the parity gate of a network; None runs nothing.
    """

    def __init__(
        self,
        store: PlanStore,
        requests: Mapping[str, PlanRequest],
        gate_of: Callable[[PlanRequest], Gate] | None,
    ) -> None:
        self._store = store
        self._requests = requests
        self._gate_of = gate_of
        self._staleness = Staleness(requests)
        report = driver_report()
        self._device = report.devices[0] if report.devices else None
        self._problem = report.problem

    def check(self, plan: StoredPlan) -> CheckResult:
        """Check one plan."""
        facts = plan.manifest
        target, precision = str(facts.parts.get("target")), str(facts.parts.get("precision"))
        what = f"{facts.key[:8]} {target} {precision}"
        try:
            plan.read()
        except ModelError as error:
            return CheckResult(facts.network, what, "damaged", str(error))
        obstacle = self._obstacle(facts)
        if obstacle or self._gate_of is None:
            detail = f"checksum right; not executed: {obstacle or 'only checksums were asked for'}"
            return CheckResult(facts.network, what, "ok", detail)
        verdict = self._run(facts, self._gate_of)
        detail = "; ".join(verdict.refused) or "checksum right, executed"
        state: State = "ok" if verdict.passed else "refused"
        return CheckResult(facts.network, what, state, detail, dict(verdict.figures))

    def _obstacle(self, facts: Manifest) -> str:
        """Why a plan cannot be run here; empty where it can."""
        if self._device is None:
            return f"no GPU here ({self._problem})"
        target, gpu = facts.parts.get("target"), facts.parts.get("gpu")
        if self._device.architecture != target:
            return f"it is for {target}, the GPU here is {self._device}"
        if gpu not in ("", self._device.name):
            return f"it is for a {gpu}, the GPU here is {self._device}"
        return self._staleness.reason(facts)

    def _run(self, facts: Manifest, gate_of: Callable[[PlanRequest], Gate]) -> Verdict:
        """The gate's verdict on a plan; one that fails is refused."""
        request = self._requests[facts.network]
        options = replace(request.options, precision=facts.parts["precision"], device="cuda")
        try:
            with load_engine(
                request.path, backend="tensorrt", options=options, cache=self._store.folder
            ) as engine:
                return gate_of(request).judge(engine)
        except EngineError as error:
            return Verdict({}, (str(error),))
