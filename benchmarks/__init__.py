"""Measurements of facestream and of other libraries, from a checkout: ``python -m benchmarks``."""

from __future__ import annotations

from pathlib import Path

try:
    import facestream.pipeline  # noqa: F401
except ImportError:
    import conftest  # noqa: F401  maps the folders of a clone that is not installed

ROOT = Path(__file__).resolve().parents[1]
# Research data beside the checkout; every command takes another folder or file.
DATA = ROOT.parent / "shared" / "data"
