"""Fixtures of the tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from facestream.pipeline.core.picture_limits import (
    PictureLimits,
    picture_limits,
    set_picture_limits,
)


@pytest.fixture
def limits() -> Iterator[Callable[..., None]]:
    """Sets the limits of pictures for a test."""
    before = picture_limits()
    yield lambda **values: set_picture_limits(PictureLimits(**values))
    set_picture_limits(before)
