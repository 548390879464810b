"""``facestream engines verify``: checksums everywhere, the parity gate where plans can run."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from facestream.engines.devices import CudaDevice, driver_report
from facestream.engines.errors import ModelError
from facestream.engines.tensorrt.plans import PlanStore, StoredPlan
from rich.table import Table
from rich.text import Text

from .console import plural, stdout
from .gate import FAILED
from .plans import folder_of, select, settings_of

log = logging.getLogger(__name__)

State = Literal["ok", "damaged", "refused"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of looking at one plan.

    Attributes:
        network: its name.
        key: of the plan; empty where its manifest cannot be read.
        target: what it is for.
        precision: of its arithmetic.
        state: ``refused`` by the parity gate.
        detail: what is wrong, or why it was not run.
        figures: of the parity gate; empty where the plan was not run.
    """

    network: str
    key: str
    target: str
    precision: str
    state: State
    detail: str
    figures: dict[str, float]


def verify_plans(
    which: Sequence[str], *, cache: Path | None, config: Path | None, form: Literal["table", "json"]
) -> int:
    """Look at plans and report; returns the exit status.

    Raises:
        UsageError: there is no plan of that name or key.
    """
    settings = settings_of(config)
    store = PlanStore(folder_of(cache, settings))
    plans, faults = store.list()
    chosen = select(store, which) if which else plans
    report = driver_report()
    device = report.devices[0] if report.devices else None
    findings = [_look_at(plan, device, report.problem or "") for plan in chosen]
    if not which:
        findings += [Finding("", "", "", "", "damaged", fault, {}) for fault in faults]
    bad = sum(finding.state != "ok" for finding in findings)
    if form == "json":
        rows = [asdict(finding) for finding in findings]
        print(json.dumps({"folder": str(store.folder), "plans": rows}, indent=2))
        return FAILED if bad else 0
    _print(findings, store)
    return FAILED if bad else 0


def _look_at(plan: StoredPlan, device: CudaDevice | None, problem: str) -> Finding:
    facts = plan.manifest
    target, precision = str(facts.parts.get("target")), str(facts.parts.get("precision"))

    def finding(state: State, detail: str, figures: dict[str, float]) -> Finding:
        return Finding(facts.network, facts.key, target, precision, state, detail, figures)

    try:
        plan.read()
    except ModelError as error:
        return finding("damaged", str(error), {})
    if device is None:
        return finding("ok", f"checksum right; not executed: no GPU here ({problem})", {})
    if device.architecture != target:
        return finding("ok", f"checksum right; not executed: the GPU here is {device}", {})
    return finding("ok", "checksum right", {})


def _print(findings: Sequence[Finding], store: PlanStore) -> None:
    if not findings:
        stdout().print(f"No plans in {store.folder}.", soft_wrap=True)
        return
    table = Table()
    for column in ("Network", "GPU", "Precision", "Key", "State", "What was seen"):
        table.add_column(column, overflow="fold")
    styles = {"ok": "green", "damaged": "red", "refused": "red"}
    for one in findings:
        state = Text(one.state, style=styles[one.state])
        seen = "; ".join(
            [one.detail, *(f"{name} {value:.6g}" for name, value in one.figures.items())]
        )
        table.add_row(Text(one.network), one.target, one.precision, one.key[:8], state, Text(seen))
    stdout().print(table)
    executed = sum(bool(one.figures) for one in findings)
    bad = sum(one.state != "ok" for one in findings)
    stdout().print(
        f"{plural(len(findings), 'plan')}: {executed} executed, {bad} damaged or refused"
    )
