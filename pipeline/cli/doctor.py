"""``facestream doctor``: what is installed, what will serve, and proof that it works."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from facestream.engines.devices import usable_cpus
from facestream.engines.errors import EngineError
from facestream.engines.index import faiss_distributions, faiss_problem, index_status
from facestream.engines.registry import backend_status, choose_backend
from rich.table import Table
from rich.text import Text

from ..core.errors import FacestreamError
from .check_result import Finding
from .console import stdout
from .errors import FAILED
from .hardware import decoders, devices, engine_cache
from .self_check import (
    prove_choice,
    prove_detection,
    prove_inference,
    prove_models,
    prove_search,
    prove_video,
)
from .versions import facestream_version, version_of

PACKAGES = (
    "numpy",
    "openvino",
    "opencv-python-headless",
    "opencv-python",
    "faiss-cpu",
    "faiss-gpu",
    "av",
    "pillow",
    "sqlalchemy",
    "pydantic",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-bindings",
)
CPU_FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def diagnose(form: Literal["table", "json"]) -> int:
    """Print the findings; returns 1 if something that is needed failed."""
    findings = list(_findings())
    if form == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        stdout().print(_table(findings))
    failed = [finding for finding in findings if finding.state == "failed"]
    if form == "table":
        verdict = f"{len(failed)} of {len(findings)} checks failed" if failed else "All is well."
        stdout().print(verdict)
    return FAILED if failed else 0


def _findings() -> Iterator[Finding]:
    yield from _versions()
    yield from _machine()
    yield from devices()
    yield from _backends()
    yield from _indexes()
    yield from decoders()
    yield engine_cache()
    for name, prove in (
        ("models", prove_models),
        ("choice", prove_choice),
        ("inference", prove_inference),
        ("detection", prove_detection),
        ("search", prove_search),
        ("video", prove_video),
    ):
        yield _proof(name, prove)


def _versions() -> Iterator[Finding]:
    yield Finding("version", "facestream", "ok", facestream_version())
    yield Finding("version", "python", "ok", f"{platform.python_version()} ({sys.executable})")
    for name in PACKAGES:
        version = version_of(name)
        if version is not None:
            yield Finding("version", name, "ok", version)
    both = [name for name in ("opencv-python", "opencv-python-headless") if version_of(name)]
    if len(both) > 1:
        yield Finding(
            "version",
            "opencv",
            "note",
            f"{' and '.join(both)} overwrite each other; run: pip uninstall {' '.join(both)}, "
            "then install exactly one of them",
        )


def _machine() -> Iterator[Finding]:
    model, features = _cpu()
    cores = f"{usable_cpus()} of {os.cpu_count()} cores usable"
    yield Finding("machine", "cpu", "ok", f"{model}, {cores}")
    yield Finding("machine", "features", "ok", " ".join(features) or "none of the usual ones")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield Finding("machine", "memory", "ok", f"{memory / 2**30:.1f} GiB")
    yield Finding("machine", "system", "ok", platform.platform())


def _cpu() -> tuple[str, list[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or "unknown processor", []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    model = facts.get("model name") or platform.processor() or platform.machine()
    return model, [name for name in CPU_FEATURES if name in flags]


def _backends() -> Iterator[Finding]:
    for status in backend_status():
        # Either will do: only when none is left is it a failure.
        yield Finding("backend", status.name, "ok" if status.usable else "note", status.detail)
    try:
        choice = choose_backend()
    except EngineError as error:
        yield Finding("backend", "chosen", "failed", str(error))
    else:
        yield Finding("backend", "chosen", "ok", f"{choice.name}, {choice.reason}")


def _indexes() -> Iterator[Finding]:
    for status in index_status():
        yield Finding("index", status.name, "ok" if status.usable else "note", status.detail)
    installed = ", ".join(f"{name} {version}" for name, version in faiss_distributions().items())
    problem = faiss_problem()
    yield Finding(
        "index", "faiss from", "note" if problem else "ok", problem or installed or "not installed"
    )


def _proof(name: str, prove: Callable[[], str]) -> Finding:
    try:
        return Finding("proof", name, "ok", prove())
    except (EngineError, FacestreamError) as error:
        return Finding("proof", name, "failed", str(error))


def _table(findings: list[Finding]) -> Table:
    styles: dict[str, Any] = {"ok": "green", "note": "yellow", "failed": "bold red"}
    table = Table(show_header=False, box=None, padding=(0, 1))
    area = ""
    for finding in findings:
        table.add_row(
            Text(finding.area if finding.area != area else "", style="bold"),
            Text(finding.name),
            Text(finding.state, style=styles[finding.state]),
            Text(finding.detail, overflow="fold"),
        )
        area = finding.area
    return table
