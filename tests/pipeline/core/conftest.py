"""Fixtures of the tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from facestream.pipeline.core.picture_limits import (
    PictureLimits,
    picture_limits,
    set_picture_limits,
)


@pytest.fixture(autouse=True)
def limits() -> Iterator[Callable[..., None]]:
    """Sets the limits of pictures for a test, which begins with the usual ones.

    They are of the whole process: a service that other tests left open has its own.
    """
    before = picture_limits()
    set_picture_limits(PictureLimits())
    yield lambda **values: set_picture_limits(PictureLimits(**values))
    set_picture_limits(before)
