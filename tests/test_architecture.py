"""The layout of ARCHITECTURE.md holds: packages listed, arrows one way, no torch at run time."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engines", "pipeline", "training")

# What each package may import of the others; anything else is a wall.
ALLOWED: dict[str, tuple[str, ...]] = {
    "engines": (),
    "pipeline": ("facestream.engines",),
    "training": (
        "facestream.engines",
        "facestream.pipeline.recognition",
        "facestream.pipeline.core.types",
        "facestream.pipeline.core.errors",
    ),
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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
