"""The encoder's trunks by name; each has its file, ``trunk`` says what they share."""

from __future__ import annotations

from typing import Final, Literal, get_args

from .conv import Conv
from .mobile import Mobile
from .residual import Residual
from .trunk import INPUT_SIZE, Backbone
from .vit import Vit

__all__ = [
    "INPUT_SIZE",
    "Backbone",
    "BackboneName",
    "Conv",
    "Mobile",
    "Residual",
    "Vit",
    "make_backbone",
]

BackboneName = Literal["mobile", "residual", "conv", "vit"]
_TRUNKS: Final[dict[BackboneName, type[Backbone]]] = {
    "mobile": Mobile,
    "residual": Residual,
    "conv": Conv,
    "vit": Vit,
}


def make_backbone(name: BackboneName) -> Backbone:
    """A trunk by name, with fresh weights.

    Raises:
        ValueError: no trunk of that name.
    """
    if name not in _TRUNKS:
        choices = ", ".join(repr(n) for n in get_args(BackboneName))
        raise ValueError(f"no backbone is called {name!r}; choose one of {choices}")
    return _TRUNKS[name]()
