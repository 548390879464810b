"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("facestream", deadline=None)
settings.load_profile("facestream")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of research data beside the checkout; skips where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the research data in ../shared/data, which is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session")
def cuda() -> None:
    """A CUDA device; skips without one, or fails where REQUIRE_GPU=1 says there is one."""
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("REQUIRE_GPU") == "1":
        pytest.fail("REQUIRE_GPU=1, but torch sees no CUDA device")
    pytest.skip("needs a CUDA device, and torch sees none")
