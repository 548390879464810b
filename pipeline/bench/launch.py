"""Starts a module of facestream in a fresh Python, installed or not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import facestream.engines as engines

from .. import __file__ as _pipeline

# As the checkout's conftest does it: without an installation the folders are mapped by hand.
_CODE = """
import importlib.util, json, runpy, sys, types
where, module = json.loads(sys.argv.pop(1)), sys.argv.pop(1)
try:
    known = importlib.util.find_spec("facestream.pipeline") is not None
except ModuleNotFoundError:
    known = False
if not known:
    space = sys.modules["facestream"] = types.ModuleType("facestream")
    space.__path__ = []
    for name, folder in where.items():
        spec = importlib.util.spec_from_file_location(
            "facestream." + name, folder + "/__init__.py", submodule_search_locations=[folder])
        part = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        setattr(space, name, part)
        spec.loader.exec_module(part)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def python(module: str) -> list[str]:
    """The command that runs a module (``facestream.pipeline…``) in a fresh interpreter."""
    folders = {
        "engines": str(Path(engines.__file__ or "").parent),
        "pipeline": str(Path(_pipeline or "").parent),
    }
    return [sys.executable, "-c", _CODE, json.dumps(folders), module]
