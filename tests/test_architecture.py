"""The layout of ARCHITECTURE.md holds: packages listed, arrows one way, no torch at run time."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engines", "pipeline", "training")

# What each package may import of the others.
ALLOWED: dict[str, tuple[str, ...]] = {
    "engines": (),
    "pipeline": ("facestream.engines",),
    # Models are judged through the detector and the alignment that serve them, and learn from
    # frames as they serve.
    "training": (
        "facestream.engines",
        "facestream.pipeline.core",
        "facestream.pipeline.detection",
        "facestream.pipeline.recognition",
        "facestream.pipeline.sources",
    ),
}

# A frame's way through the pipeline: a folder or module imports only those before it.
ORDER = (
    "core",
    "storage",
    "access",
    "runtime",
    "web",
    "metrics",
    "sources",
    "ingest",
    "detection",
    "recognition",
    "tracking",
    "identity",
    "analysis",
    "batch_embed",
    "gallery",
    "sightings",
    "calibration",
    "stages",
    "observability",
    "sinks",
    "redaction",
    "exports",
    "pipeline",
    "server",
    "cli",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """What a file imports, in functions too, as dotted paths of folders or installed modules."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def graph(package: str) -> dict[str, set[str]]:
    """Module to modules of a package, by imports that are executed."""
    names = {dotted(path): path for path in modules(package)}
    return {name: set(_targets(path, names)) - {name} for name, path in names.items()}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(path: Path, names: Mapping[str, Path]) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_typed = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or node in only_typed:
            continue
        above = package[: len(package) - node.level + 1]
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            yield full if full in names else base


def test_every_folder_with_python_is_listed_in_setup_cfg() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {
        "facestream." + ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in modules(package)
    }
    assert listed == folders


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    crossing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imports(path)
        if name.startswith("facestream.")
        and not any(name == ok or name.startswith(ok + ".") for ok in ALLOWED[package])
    ]
    assert crossing == []


@pytest.mark.parametrize("package", PACKAGES)
def test_inside_a_package_imports_are_relative(package: str) -> None:
    absolute = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imports(path)
        if name.startswith(f"facestream.{package}.")
    ]
    assert absolute == []


def test_folders_of_the_pipeline_follow_the_frame() -> None:
    upward = [
        f"{name} imports {target}"
        for name, targets in graph("pipeline").items()
        for target in targets
        if name.count(".") and rank(target) > rank(name)
    ]
    assert upward == []


def rank(module: str) -> int:
    return ORDER.index(module.split(".")[1]) if module.count(".") else -1


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_circle(package: str) -> None:
    """Also none through imports inside functions."""
    found = graph(package)
    try:
        list(TopologicalSorter(found).static_order())
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]), pytrace=False)


def test_a_name_means_one_thing() -> None:
    """No two classes of the program have the same name."""
    homes: dict[str, list[str]] = {}
    for path in (path for package in PACKAGES for path in modules(package)):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_bare_folder_name_is_refused(package: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", f"import {package}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert f"import this package as 'facestream.{package}'" in ran.stderr


def test_the_running_system_starts_without_torch() -> None:
    code = (
        "import sys, conftest\n"
        "import facestream.pipeline, facestream.pipeline.pipeline, facestream.pipeline.cli\n"
        "heavy = {'torch', 'torchvision', 'onnxruntime', 'facenet_pytorch'} & set(sys.modules)\n"
        "sys.exit(f'imported at start: {sorted(heavy)}' if heavy else 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_names_are_not_taken_from_this_machine() -> None:
    """Nothing in the sources names an absolute home or work folder."""
    found = [
        str(path.relative_to(ROOT))
        for package in (*PACKAGES, "benchmarks")
        for path in modules(package)
        if any(word in path.read_text(encoding="utf-8") for word in ("/root/", "/home/"))
    ]
    assert found == []
