"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of research data beside the checkout; skips where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the research data in ../shared/data, which is not beside this checkout")
    return SHARED_DATA
