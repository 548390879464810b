"""The perceptual distance by hand in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.losses.perceptual import perceptual_distance


def by_hand(a: np.ndarray, b: np.ndarray) -> float:
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    return float(((a - b) ** 2).sum(axis=1).mean())


def test_layers_are_weighted() -> None:
    draw = np.random.default_rng(0)
    made = [draw.standard_normal((2, c, s, s)).astype(np.float32) for c, s in ((4, 6), (8, 3))]
    wanted = [draw.standard_normal(m.shape).astype(np.float32) for m in made]
    terms = [by_hand(a, b) for a, b in zip(made, wanted, strict=True)]
    tensors = [torch.from_numpy(m) for m in made], [torch.from_numpy(m) for m in wanted]
    assert perceptual_distance(*tensors).item() == pytest.approx(np.mean(terms), rel=1e-5)
    found = perceptual_distance(*tensors, weights=(3.0, 1.0)).item()
    assert found == pytest.approx((3 * terms[0] + terms[1]) / 4, rel=1e-5)


def test_of_embeddings_it_is_twice_the_cosine_distance() -> None:
    a, b = torch.randn(5, 7), torch.randn(5, 7)
    cosine = torch.nn.functional.cosine_similarity(a, b).mean()
    assert perceptual_distance([a], [b]).item() == pytest.approx(2 - 2 * cosine.item(), abs=1e-5)


def test_brightness_of_features_does_not_count_and_the_target_is_fixed() -> None:
    a = torch.randn(2, 3, 4, 4, requires_grad=True)
    wanted = (5 * a.detach()).requires_grad_()
    loss = perceptual_distance([a], [wanted])
    assert loss.item() == pytest.approx(0, abs=1e-9)
    torch.autograd.backward(loss)
    assert wanted.grad is None


def test_different_numbers_of_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 layers with 2 weights"):
        perceptual_distance([torch.ones(1, 2)] * 2, [torch.ones(1, 2)])
