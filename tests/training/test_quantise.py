"""The search for layers that stay in floating point, and what is told without NNCF."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.training.errors import TrainingError
from facestream.training.export.quantise import Quantiser, closeness
from facestream.training.progress import silent

FACES = np.zeros((4, 112, 112, 3), np.uint8)
LAYERS = {"a": 0.9, "b": 0.99, "c": 0.995, "d": 0.9999, "e": 0.99999}


class Pretending(Quantiser):
    """Each layer in int8 turns the embedding by its own angle."""

    def __init__(self) -> None:
        self._progress = silent
        self.tried: list[list[str]] = []

    def float_model(self) -> Any:
        return list(LAYERS)

    def quantise(self, kept: Sequence[str] = (), *, subset: int | None = None) -> Any:
        self.tried.append(list(kept))
        return list(kept)

    def run(self, model: Any, faces: Any, *, precision: str = "f32") -> Any:
        angle = sum(np.arccos(cosine) for name, cosine in LAYERS.items() if name not in model)
        mu = np.array([[np.cos(angle), np.sin(angle)]] * 2, np.float32)
        return mu, np.array([[0.0, 1], [1, 2]], np.float32)


@pytest.mark.parametrize(
    ("least", "kept"),
    [(0.0, []), (0.98, ["a", "b"]), (0.999, ["a", "b", "c"]), (1.0, list(LAYERS))],
)
def test_no_more_layers_are_kept_than_must_be(least: float, kept: list[str]) -> None:
    maker = Pretending()
    found, model = maker.search(LAYERS, FACES, least=least)
    assert found == model == kept
    assert len(maker.tried) <= 4


def test_closeness() -> None:
    mu = np.eye(3, dtype=np.float32)
    logvar = np.arange(9, dtype=np.float32).reshape(3, 3)
    found = closeness((mu, logvar[::-1]), (mu, logvar))
    assert found.cosine_min == pytest.approx(1)
    assert found.sigma_rank == pytest.approx(-1)


def test_without_nncf_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(TrainingError, match=r"pip install 'facestream\[quantise\]'"):
        Quantiser(Path("net.onnx"), FACES, progress=lambda *told: None)
