"""Lets a fresh clone run its tests: maps facestream.* onto the folders if not installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

ROOT = Path(__file__).parent


def _installed() -> bool:
    try:
        return importlib.util.find_spec("facestream.pipeline") is not None
    except ModuleNotFoundError:
        return False


if not _installed():
    namespace = types.ModuleType("facestream")
    namespace.__path__ = []
    sys.modules["facestream"] = namespace
    for _name in ("engines", "pipeline", "training"):
        _spec = importlib.util.spec_from_file_location(
            f"facestream.{_name}",
            ROOT / _name / "__init__.py",
            submodule_search_locations=[str(ROOT / _name)],
        )
        assert _spec is not None
        assert _spec.loader is not None
        _module = importlib.util.module_from_spec(_spec)
        sys.modules[_spec.name] = _module
        setattr(namespace, _name, _module)
        _spec.loader.exec_module(_module)
