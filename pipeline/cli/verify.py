"""``facestream engines verify``: checksums of plans, and the parity gate on all that runs here."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from facestream.engines.devices import CudaDevice, driver_report
from facestream.engines.errors import EngineError, ModelError
from facestream.engines.options import Serving
from facestream.engines.parity import Verdict
from facestream.engines.registry import load_engine
from facestream.engines.tensorrt.plans import PlanStore, StoredPlan
from rich.table import Table
from rich.text import Text

from ..recognition.planned import Planned
from .console import plural, stderr, stdout
from .errors import FAILED
from .plans import (
    folder_of,
    plans_of,
    select,
    settings_of,
)
from .staleness import Staleness

log = logging.getLogger(__name__)

State = Literal["ok", "damaged", "refused"]
STYLES: dict[State, str] = {"ok": "green", "damaged": "red", "refused": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of looking at a plan, or of running an engine.

    Attributes:
        network: its name; empty where a manifest cannot be read.
        what: the plan's key, architecture and precision, or the engine in words.
        state: ``refused`` by the parity gate.
        detail: what is wrong, or why a plan was not run.
        figures: of the parity gate; empty where nothing was run.
    """

    network: str
    what: str
    state: State
    detail: str = ""
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """What plans can be run on here.

    Attributes:
        device: the GPU, if there is one.
        problem: why there is none.
        cache: folder of the plans.
        networks: what plans are built for, by name.
        staleness: which plans are of these.
    """

    device: CudaDevice | None
    problem: str
    cache: Path
    networks: dict[str, Planned]
    staleness: Staleness


def verify_plans(
    which: Sequence[str],
    *,
    run: Literal["all", "nothing"],
    cache: Path | None,
    config: Path | None,
    form: Literal["table", "json"],
) -> int:
    """Look at plans, run what can run here, and report; returns the exit status.

    Raises:
        UsageError: there is no plan of that name or key.
    """
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans, faults = store.list()
    chosen = select(store, which) if which else plans
    report = driver_report()
    device = report.devices[0] if report.devices else None
    networks = plans_of(settings)
    bench = Bench(device, report.problem or "", store.folder, networks, Staleness(networks))
    seen = [_look_at(plan, bench, run=run) for plan in chosen]
    if not which:
        seen += [Finding("", "", "damaged", fault) for fault in faults]
    serving = replace(settings.runtime.serving(), cache=store.folder)
    engines = _run_engines(serving) if run == "all" and not which else []
    if form == "json":
        content = {
            "folder": str(store.folder),
            "plans": [asdict(one) for one in seen],
            "engines": [asdict(one) for one in engines],
        }
        print(json.dumps(content, indent=2))
    else:
        _print(seen, engines, store)
    return FAILED if any(one.state != "ok" for one in (*seen, *engines)) else 0


def _look_at(plan: StoredPlan, bench: Bench, *, run: Literal["all", "nothing"]) -> Finding:
    facts = plan.manifest
    target, precision = str(facts.parts.get("target")), str(facts.parts.get("precision"))
    what = f"{facts.key[:8]} {target} {precision}"
    try:
        plan.read()
    except ModelError as error:
        return Finding(facts.network, what, "damaged", str(error))
    hindrance = _hindrance(plan, bench) if run == "all" else "only checksums were asked for"
    if hindrance:
        detail = f"checksum right; not executed: {hindrance}"
        return Finding(facts.network, what, "ok", detail)
    verdict = _executed(plan, bench)
    state: State = "ok" if verdict.passed else "refused"
    detail = "; ".join(verdict.refused) or "checksum right, executed"
    return Finding(facts.network, what, state, detail, dict(verdict.figures))


def _hindrance(plan: StoredPlan, bench: Bench) -> str:
    """Why a plan cannot be run here; empty where it can."""
    if bench.device is None:
        return f"no GPU here ({bench.problem})"
    target = plan.manifest.parts.get("target")
    if bench.device.architecture != target:
        return f"it is for {target}, the GPU here is {bench.device}"
    gpu = plan.manifest.parts.get("gpu")
    if gpu not in ("", bench.device.name):
        return f"it is for a {gpu}, the GPU here is {bench.device}"
    stale = bench.staleness.reason(plan.manifest)
    return f"{stale}" if stale else ""


def _executed(plan: StoredPlan, bench: Bench) -> Verdict:
    """The parity gate's verdict on a plan; one that does not run is refused."""
    from ..recognition.verify import gate_of

    network = bench.networks[plan.manifest.network]
    precision = plan.manifest.parts["precision"]
    options = replace(network.options, precision=precision, device="cuda")
    try:
        with load_engine(
            network.path, backend="tensorrt", options=options, cache=bench.cache
        ) as engine:
            return gate_of(network).judge(engine)
    except EngineError as error:
        return Verdict({}, (str(error),))


def _run_engines(serving: Serving) -> list[Finding]:
    """Every network on every backend and precision that runs here."""
    from ..recognition.verify import verify_all

    with stderr().status("comparing engines with the float32 reference"):
        rows = verify_all(serving)
    found = []
    for network, engine, verdict in rows:
        state: State = "ok" if verdict.passed else "refused"
        refused = "; ".join(verdict.refused)
        found.append(Finding(network, engine, state, refused, dict(verdict.figures)))
    return found


def _print(plans: Sequence[Finding], engines: Sequence[Finding], store: PlanStore) -> None:
    if plans:
        stdout().print(_table("Plan", plans))
        executed = sum(bool(one.figures) for one in plans)
        bad = sum(one.state != "ok" for one in plans)
        stdout().print(
            f"{plural(len(plans), 'plan')}: {executed} executed, {bad} damaged or refused"
        )
    else:
        stdout().print(f"No plans in {store.folder}.", soft_wrap=True)
    if engines:
        stdout().print(_table("Engine that runs here", engines))
        bad = sum(one.state != "ok" for one in engines)
        stdout().print(f"{plural(len(engines), 'engine')} executed, {bad} refused")


def _table(what: str, findings: Sequence[Finding]) -> Table:
    table = Table()
    for column in ("Network", what, "State", "What was seen"):
        table.add_column(column, overflow="fold")
    for one in findings:
        figures = ", ".join(f"{name} {value:.6g}" for name, value in one.figures.items())
        seen = "; ".join(filter(None, (one.detail, figures)))
        state = Text(one.state, style=STYLES[one.state])
        table.add_row(Text(one.network), Text(one.what), state, Text(seen))
    return table
