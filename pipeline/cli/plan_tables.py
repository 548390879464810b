"""Plans as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from facestream.engines.tensorrt.inventory import EngineCheck, PlanRequest, State, unused_reason
from facestream.engines.tensorrt.plans import StoredPlan
from rich.table import Table
from rich.text import Text

from .console import table

STYLES: dict[State, str] = {"ok": "green", "damaged": "red", "refused": "red"}


def overview(plans: Sequence[StoredPlan], requests: Mapping[str, PlanRequest]) -> Table:
    """A row for each plan."""
    shown = table("Network", "GPU", "Precision", "Batches", "MiB", "Built by", "Age", "Key", "Use")
    for plan in plans:
        parts = plan.manifest.parts
        shown.add_row(
            Text(plan.manifest.network),
            _text(parts, "target"),
            _text(parts, "precision"),
            _batches(plan),
            f"{plan.manifest.size / 2**20:.1f}",
            f"{_text(parts, 'flavour')} {_text(parts, 'version')}",
            _age(plan),
            plan.manifest.key[:8],
            Text(unused_reason(plan.manifest, requests) or "yes"),
        )
    return shown


def portrait(plan: StoredPlan, requests: Mapping[str, PlanRequest]) -> list[Table]:
    """All there is to know of a plan: what it is, its tensors, its profiles."""
    facts, parts = plan.manifest, plan.manifest.parts
    card = table("", "", title=Text(f"{facts.network} · {facts.key}"))
    card.show_header = False
    for name, value in (
        ("File", str(plan.path)),
        ("Built for", " ".join(filter(None, (_text(parts, "target"), _text(parts, "gpu"))))),
        ("Precision", _text(parts, "precision")),
        ("Built by", f"{_text(parts, 'flavour')} {_text(parts, 'version')}"),
        ("Built", f"{facts.created}, in {facts.build_seconds:.1f} s"),
        ("Size", f"{facts.size:,} bytes"),
        ("SHA-256", facts.sha256),
        ("Network's SHA-256", _text(parts, "onnx_sha256")),
        ("In use", unused_reason(facts, requests) or "yes"),
    ):
        card.add_row(name, Text(value))
    tensors = table("Tensor", "Mode", "Shape", "Type")
    for tensor in facts.tensors:
        shape = "×".join("N" if length is None else str(length) for length in tensor.shape)
        tensors.add_row(Text(tensor.name), tensor.mode, shape, tensor.dtype)
    profiles = table("Profile", "From", "Tuned for", "To")
    for number, profile in enumerate(facts.profiles):
        limits = (profile.min, profile.opt, profile.max)
        profiles.add_row(str(number), *("×".join(map(str, shape)) for shape in limits))
    return [card, tensors, profiles]


def check_table(what: str, results: Sequence[EngineCheck]) -> Table:
    """A row for each plan or engine that was checked."""
    shown = table("Network", what, "State", "What was seen")
    for one in results:
        figures = ", ".join(f"{name} {value:.6g}" for name, value in one.figures.items())
        seen = "; ".join(filter(None, (one.detail, figures)))
        state = Text(one.state, style=STYLES[one.state])
        shown.add_row(Text(one.network), Text(one.what), state, Text(seen))
    return shown


def facts_of(plan: StoredPlan) -> dict[str, Any]:
    """A plan for JSON."""
    return {"path": str(plan.path), **plan.manifest.model_dump(mode="json", by_alias=True)}


def _text(parts: dict[str, Any], name: str) -> str:
    return str(parts.get(name, ""))


def _batches(plan: StoredPlan) -> str:
    profiles = plan.manifest.profiles
    low, high = profiles[0].min[0], profiles[-1].max[0]
    return str(high) if low == high else f"{low}–{high}"


def _age(plan: StoredPlan) -> str:
    seconds = (datetime.now(UTC) - plan.manifest.created_at).total_seconds()
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"
