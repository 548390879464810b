"""The folders of ``training`` import only those above them, so that there is no circle."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "training"
ORDER = (
    "models",
    "losses",
    "data",
    "evaluation",
    "export",
    "fit",
    "generation",
    "comparison",
    "cli",
)
BELOW_ALL = {"errors", "progress", "record"}


def test_folders_import_only_those_above_them() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in ORDER:
            continue
        allowed = {*ORDER[: ORDER.index(parts[0])], *BELOW_ALL}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                wrong += [f"{path}: {n}" for n in names if (n or "").split(".")[0] not in allowed]
    assert wrong == []
