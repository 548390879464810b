"""``facestream engines verify``: checksums of plans, and the parity gate on all that runs here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from facestream.engines.options import Serving
from facestream.engines.tensorrt.inventory import EngineCheck, check_plan
from facestream.engines.tensorrt.plans import PlanStore

from ..recognition.verify import gate_of, verify_all
from .console import plural, stderr, stdout
from .errors import FAILED
from .plan_tables import check_table
from .plans import folder_of, plans_of, select, settings_of


def verify_plans(
    which: Sequence[str],
    *,
    run: Literal["all", "nothing"],
    cache: Path | None,
    config: Path | None,
    form: Literal["table", "json"],
) -> int:
    """Check plans, run what can run here, and report; returns the exit status.

    Raises:
        UsageError: there is no plan of that name or key.
    """
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans, faults = store.list()
    chosen = select(store, which) if which else plans
    requests = plans_of(settings)
    gates = gate_of if run == "all" else None
    checked = [check_plan(plan, requests, gates) for plan in chosen]
    if not which:
        checked += [EngineCheck("", "", "damaged", fault) for fault in faults]
    serving = replace(settings.runtime.serving(), cache=store.folder)
    engines = _run_engines(serving) if run == "all" and not which else []
    if form == "json":
        content = {
            "folder": str(store.folder),
            "plans": [asdict(one) for one in checked],
            "engines": [asdict(one) for one in engines],
        }
        print(json.dumps(content, indent=2))
    else:
        _print(checked, engines, store)
    return FAILED if any(one.state != "ok" for one in (*checked, *engines)) else 0


def _run_engines(serving: Serving) -> list[EngineCheck]:
    """Every network on every backend and precision that runs here."""
    with stderr().status("comparing engines with the float32 reference"):
        rows = verify_all(serving)
    return [
        EngineCheck(
            network,
            engine,
            "ok" if verdict.passed else "refused",
            "; ".join(verdict.refused),
            dict(verdict.figures),
        )
        for network, engine, verdict in rows
    ]


def _print(plans: Sequence[EngineCheck], engines: Sequence[EngineCheck], store: PlanStore) -> None:
    if plans:
        stdout().print(check_table("Plan", plans))
        executed = sum(bool(one.figures) for one in plans)
        bad = sum(one.state != "ok" for one in plans)
        stdout().print(
            f"{plural(len(plans), 'plan')}: {executed} executed, {bad} damaged or refused"
        )
    else:
        stdout().print(f"No plans in {store.folder}.", soft_wrap=True)
    if engines:
        stdout().print(check_table("Engine that runs here", engines))
        bad = sum(one.state != "ok" for one in engines)
        stdout().print(f"{plural(len(engines), 'engine')} executed, {bad} refused")
