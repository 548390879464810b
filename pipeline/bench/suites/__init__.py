"""The suites by name, each imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Literal, cast

from ..suite import Suite

SuiteName = Literal["detect", "embed", "search", "e2e", "scale", "roofline"]
SUITES: tuple[SuiteName, ...] = ("detect", "embed", "search", "e2e", "scale", "roofline")


def suite_named(name: str) -> Suite:
    """The suite of that name, which takes turns (``turns``); ``e2e`` runs on its own.

    Raises:
        ValueError: there is none.
    """
    if name not in SUITES or name == "e2e":
        raise ValueError(f"no suite '{name}'; choose one of {', '.join(SUITES)}")
    return cast(Suite, importlib.import_module(f"{__name__}.{name}").SUITE)
