"""Results of benchmarks: the machine, rows with their rounds, the JSON file, the comparison.

Written by ``facestream bench`` and by the suites of the repository's ``benchmarks/``;
docs/benchmarks.md describes the file.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from facestream.engines.devices import cuda_devices
from facestream.engines.files import write_atomically
from pydantic import Field, TypeAdapter, ValidationError

from ..core.errors import UsageError
from ..core.versions import proc_fields, processor, version_of

SCHEMA = 2
Scalar = str | int | float | bool | None

# A single round gives no spread: single figures of a shared machine vary by a quarter
# (benchmarks/RESULTS.md).
UNKNOWN_SPREAD = 0.25
# Processes of the same program differ by this much through the layout of their memory.
LEAST_NOISE = 0.03
# Load per core before the start above which figures depend on the other programs too.
_BUSY = 0.3

# Arguments of the command that change the figures.
_ARGUMENTS = ("rounds", "seconds", "quick", "max_frames", "min_face", "detect_every")
_CPU_FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("amx_bf16", "amx_int8", "asimddp"),
)
_PACKAGES = (
    *("openvino", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13", "torch", "facenet-pytorch"),
    *("opencv-python-headless", "opencv-python", "faiss-cpu", "faiss-gpu", "av", "numpy"),
)
# A slash that begins a path, and all that is followed by another one.
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/()'\"]+/)+")


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and range of the ratios within the rounds."""

    median: float
    low: float
    high: float


def spread(rounds: Sequence[float]) -> float | None:
    """(highest − lowest) / median; None for fewer than two rounds."""
    if len(rounds) < 2:
        return None
    return (max(rounds) - min(rounds)) / statistics.median(rounds)


def noise(old: Sequence[float], new: Sequence[float]) -> float:
    """The relative difference of two medians that the spread of the rounds explains.

    Both spreads added as independent errors, at least `LEAST_NOISE`; a single round counts with
    `UNKNOWN_SPREAD`.
    """
    widths = [UNKNOWN_SPREAD if (own := spread(rounds)) is None else own for rounds in (old, new)]
    return max(LEAST_NOISE, math.hypot(*widths))


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one case.

    Attributes:
        case: e.g. ``{"size": "720p", "batch": 8}``; with suite and contender the row's key.
        unit: of the rounds. Less is better of ``s``, ``ms`` and ``MB``, more of all others.
        rounds: the figure of each round, in order; at least one.
        slower: how many times slower it is than the first contender of the case.
        memory_mb: largest resident size of its process in this case.
        gpu_memory_mb: memory it holds on the first GPU; None without one.
        cpu_seconds: CPU time per item, all threads; None where it is not measured.
        checks: measured besides the speed, e.g. the recall.
        detail: what ran it: backend, device, precision, time to load.
    """

    suite: str
    contender: str
    case: Mapping[str, Scalar]
    unit: str
    rounds: Annotated[Sequence[float], Field(min_length=1)]
    slower: Ratio | None = None
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    cpu_seconds: float | None = None
    checks: Mapping[str, Scalar] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def key(self) -> tuple[str, str, str]:
        """The same in each run of the same measurement."""
        return (self.suite, self.contender, json.dumps(dict(self.case), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """With ``median`` and ``spread``."""
        return {**asdict(self), "median": self.median, "spread": spread(self.rounds)}


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not measured.

    Attributes:
        name: a contender, or a case in words.
        install: a command or an option that would change that; empty if there is none.
    """

    suite: str
    name: str
    reason: str
    install: str = ""

    def __str__(self) -> str:
        text = f"{self.suite}: {self.name} is left out: {self.reason}"
        return f"{text}; {self.install}" if self.install else text


@dataclass(slots=True)
class Results:
    """One run. Rows are added one by one, so that an interrupted run keeps them.

    Attributes:
        machine: see `describe_machine`.
        measured_at: UTC, ISO 8601.
        complete: False until everything was measured.
    """

    machine: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    measured_at: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    complete: bool = False
    rows: list[Row] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The content of the file. Folders in messages are private and left out."""
        missing = [
            {**asdict(item), "reason": _FOLDERS.sub("", item.reason)} for item in self.missing
        ]
        rows = [row.to_json() for row in self.rows]
        return {
            "schema": SCHEMA,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "missing": missing,
            "rows": rows,
        }

    def save(self, path: Path) -> None:
        """Write the JSON file in one step: a reader never gets half of it."""
        write_atomically(path, (json.dumps(self.to_json(), indent=2) + "\n").encode())


def load_results(path: Path) -> Results:
    """Read a file that ``Results.save`` wrote.

    Raises UsageError if it is missing, no such file, or of a newer schema.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON; name a file that 'bench --json' wrote") from error
    schema = given.get("schema") if isinstance(given, dict) else None
    if not isinstance(schema, int):
        raise UsageError(f"{path} has no 'schema'; name a file that 'bench --json' wrote")
    if schema > SCHEMA:
        raise UsageError(
            f"{path} has schema {schema}, this version reads up to {SCHEMA}; "
            "use the version that wrote it"
        )
    try:
        return TypeAdapter(Results).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is damaged ({where}: {first['msg']})") from error


def describe_machine() -> dict[str, Any]:
    """CPU, cores, memory, system, GPUs, packages and the load now; no names and no paths."""
    model, flags = processor()
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    memory = int(proc_fields("meminfo").get("MemTotal", "0 kB").split()[0])
    return {
        "cpu": model,
        "cpu_features": [flag for flag in _CPU_FEATURES if flag in flags],
        "cores": cores,
        "memory_gib": round(memory / 2**20, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "gpus": [
            {"name": device.name, "memory_mb": device.memory >> 20} for device in cuda_devices()
        ],
        "packages": {name: found for name in _PACKAGES if (found := version_of(name)) is not None},
        "load_average": round(load, 2),
        "busy": load > _BUSY * cores,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two machines in a way that changes their speed; not the packages."""
    found = [
        f"{name}: {old.get(name)} then, {new.get(name)} now"
        for name in ("cpu", "cpu_features", "cores", "gpus")
        if old.get(name) != new.get(name)
    ]
    then, now = float(old.get("memory_gib") or 0), float(new.get("memory_gib") or 0)
    if abs(then - now) > 0.1 * max(then, now):
        found.append(f"memory: {then} GiB then, {now} GiB now")
    return found


def machine_lines(results: Results) -> list[str]:
    """Where and when it was measured, and the warnings."""
    machine = results.machine
    gpus = ", ".join(gpu["name"] for gpu in machine.get("gpus", [])) or "no GPU"
    lines = [
        f"{machine['cpu']} ({', '.join(machine['cpu_features'])}), {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {gpus}, {machine['system']}, Python {machine['python']}",
        ", ".join(f"{name} {v}" for name, v in machine.get("packages", {}).items()),
        f"Measured {results.measured_at}; load at the start {machine['load_average']}",
    ]
    if machine.get("busy"):
        lines.append("WARNING: the machine was busy at the start: the figures are too low and vary")
    if not results.complete:
        lines.append("WARNING: interrupted: not everything was measured")
    return [*lines, *results.notes]


@dataclass(frozen=True, slots=True)
class Change:
    """A row that both results have.

    Attributes:
        row: the new one.
        old: the median of the old one.
        ratio: new / old.
        noise: see `noise`.
    """

    row: Row
    old: float
    ratio: float
    noise: float

    @property
    def verdict(self) -> Literal["better", "worse", "same"]:
        """``better`` or ``worse`` beyond the noise, which counts the same both ways."""
        gain = 1 / self.ratio if self.row.unit in ("s", "ms", "MB") else self.ratio
        if gain > 1 + self.noise:
            return "better"
        return "worse" if gain < 1 / (1 + self.noise) else "same"

    @property
    def mark(self) -> str:
        """The verdict for a table: ``SLOWER``, ``faster``, ``MORE``, ``less``, or nothing."""
        words = ("less", "MORE") if self.row.unit == "MB" else ("faster", "SLOWER")
        return {"better": words[0], "worse": words[1], "same": ""}[self.verdict]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows with the same key, in the order of the new ones, and lines of text, warnings first."""

    changes: list[Change]
    lines: list[str]


def compare_results(old: Results, new: Results) -> Comparison:
    """Compare the rows of the same key and unit, if both were measured on the same machine."""
    if unlike := differences(old.machine, new.machine):
        text = "WARNING: NOT COMPARED: the old figures are of another machine: "
        return Comparison([], [text + "; ".join(unlike)])
    before, now = ({row.key: row for row in results.rows} for results in (old, new))
    changes = [
        Change(row, then.median, row.median / then.median, noise(then.rounds, row.rounds))
        for key, row in now.items()
        if (then := before.get(key)) is not None and then.unit == row.unit and then.median
    ]
    verdicts = [change.verdict for change in changes]
    summary = (
        f"{len(changes)} rows compared: {verdicts.count('worse')} worse beyond the noise, "
        f"{verdicts.count('better')} better; {len(before.keys() - now.keys())} are only in the old "
        f"file, {len(now.keys() - before.keys())} only here"
    )
    return Comparison(changes, [*_warnings(old, new), summary])


def _warnings(old: Results, new: Results) -> list[str]:
    found = [
        f"WARNING: the machine was busy when the {age} figures were taken "
        f"(load {results.machine.get('load_average')})"
        for age, results in (("old", old), ("new", new))
        if results.machine.get("busy")
    ]
    found += [
        f"WARNING: {name} was {old.arguments[name]} then and is {value} now"
        for name in _ARGUMENTS
        if name in old.arguments and (value := new.arguments.get(name)) != old.arguments[name]
    ]
    then, now = (dict(results.machine.get("packages", {})) for results in (old, new))
    then["Python"], now["Python"] = old.machine.get("python"), new.machine.get("python")
    others = [
        f"{name} {then.get(name) or 'absent'} → {now.get(name) or 'absent'}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    return found + (["other versions: " + ", ".join(others)] if others else [])
