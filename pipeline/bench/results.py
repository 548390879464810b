"""What a benchmark found, and its JSON (docs/benchmarks.md describes it)."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.errors import UsageError
from .stats import Ratio, spread

SCHEMA = 1

# A slash that begins a path, and all that is followed by another one.
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/()'\"]+/)+")

Scalar = str | int | float | bool | None
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One contender in one case.

    Attributes:
        suite: e.g. ``detect``.
        contender: what was measured, e.g. ``facestream fast``.
        case: what it was given, e.g. ``{"size": "720p", "batch": 8}``; with suite and contender
            the row's key.
        unit: of the rounds, e.g. ``pictures/s``; more is always better.
        rounds: the rate in each round, in order; at least one.
        slower: how many times slower it is than the suite's first contender (1 for that itself).
        memory_mb: largest resident size of its process in this case.
        gpu_memory_mb: memory it holds on the first GPU; None without one.
        joules: per item, by counter; empty where the machine has no counter.
        checks: what was checked beside the speed, e.g. the recall.
        detail: what ran it: backend, device, precision, time to load.
    """

    suite: str
    contender: str
    case: Mapping[str, Scalar]
    unit: str
    rounds: Sequence[float]
    slower: Ratio | None = None
    memory_mb: float | None = None
    gpu_memory_mb: float | None = None
    joules: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, Scalar] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    @property
    def key(self) -> Key:
        """The same in each run of the same measurement."""
        return (self.suite, self.contender, json.dumps(dict(self.case), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """With ``median`` and ``spread``, for those who read the file without this module."""
        return {**asdict(self), "median": self.median, "spread": spread(self.rounds)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Row:
        """The other way; ``median`` and ``spread`` are computed anew.

        Raises:
            KeyError, TypeError: it is no row.
        """
        own = {key: value for key, value in given.items() if key not in ("median", "spread")}
        if own.get("slower") is not None:
            own["slower"] = Ratio(**own["slower"])
        row = cls(**own)
        if not row.rounds or not all(isinstance(rate, (int, float)) for rate in row.rounds):
            raise TypeError(f"a row of {row.suite} has no rounds")
        return row


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not measured, why, and what would change that.

    Attributes:
        suite: where it is missing.
        name: a contender, or a case in words.
        reason: one line.
        install: a command, or an option of ``facestream bench``; empty where nothing helps.
    """

    suite: str
    name: str
    reason: str
    install: str = ""

    def __str__(self) -> str:
        told = f"{self.suite}: {self.name} is left out: {self.reason}"
        return f"{told}; {self.install}" if self.install else told


@dataclass(slots=True)
class Results:
    """Everything a run found. Rows are added as they come, so that an interrupted run keeps them.

    Attributes:
        machine: see ``machine.describe``.
        arguments: how the bench was asked.
        measured_at: UTC, ISO 8601.
        complete: False until all that was asked for was measured.
        videos: of the e2e suite, what ``runner.compare`` returns.
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
    videos: dict[str, Any] = field(default_factory=dict)

    def leave_out(self, missing: Missing) -> None:
        """Remember it once."""
        if missing not in self.missing:
            self.missing.append(missing)

    def note(self, text: str) -> None:
        """Remember it once."""
        if text not in self.notes:
            self.notes.append(text)

    def of(self, suite: str) -> list[Row]:
        """Its rows."""
        return [row for row in self.rows if row.suite == suite]

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        return {
            "schema": SCHEMA,
            "machine": self.machine,
            "measured_at": self.measured_at,
            "arguments": self.arguments,
            "complete": self.complete,
            "notes": self.notes,
            "missing": [
                {**asdict(item), "reason": without_folders(item.reason)} for item in self.missing
            ],
            "rows": [row.to_json() for row in self.rows],
            **self.videos,
        }

    def save(self, path: Path) -> None:
        """Write the JSON file; a reader never sees half of it."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        beside.replace(path)


def without_folders(text: str) -> str:
    """The text with the last part alone of every absolute path: files travel, folders are private.

    Addresses of web pages stay as they are.
    """
    return _FOLDERS.sub("", text)


def load_results(path: Path) -> Results:
    """A JSON file of ``facestream bench``.

    Raises:
        UsageError: it is missing, no such file, or of a newer schema.
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
        return Results(
            machine=dict(given["machine"]),
            arguments=given.get("arguments", {}),
            measured_at=given["measured_at"],
            complete=given.get("complete", False),
            rows=[Row.from_json(row) for row in given["rows"]],
            missing=[Missing(**item) for item in given.get("missing", [])],
            notes=list(given.get("notes", [])),
            videos={key: given[key] for key in VIDEO_KEYS if key in given},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged ({type(error).__name__}: {error})") from error


VIDEO_KEYS = ("rounds", "start_to_first_result_seconds", "summary", "runs")
