"""Reconstruction losses against scipy, pixel by pixel under the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.losses.reconstruction import masked_bce, masked_mse, perceptual_distance
from scipy.special import rel_entr


def examples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
    draw = torch.Generator().manual_seed(0)
    made = torch.rand(3, 3, 5, 5, generator=draw) * 2 - 1
    wanted = torch.rand(3, 3, 5, 5, generator=draw) * 2 - 1
    mask = (torch.rand(3, 1, 5, 5, generator=draw) > 0.4).float()
    return made, wanted, mask, np.broadcast_to(mask.numpy(), made.shape) > 0


def test_bce() -> None:
    made, wanted, mask, use = examples()
    p, q = (made.double().numpy() + 1) / 2, (wanted.double().numpy() + 1) / 2
    # Cross-entropy is the entropy of the picture plus its divergence from what was made.
    entropy = -(q * np.log(q) + (1 - q) * np.log(1 - q))
    rows = entropy + rel_entr(q, p) + rel_entr(1 - q, 1 - p)
    assert masked_bce(made, wanted, mask).item() == pytest.approx(rows[use].mean(), rel=1e-5)


def test_bce_at_black_and_white_is_finite_and_trains() -> None:
    made = torch.tensor([-1.0, 1.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    loss = masked_bce(made, torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1), torch.ones(1, 1, 1, 1))
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert made.grad is not None
    assert torch.isfinite(made.grad).all()


def test_what_is_outside_the_mask_does_not_count() -> None:
    made, wanted, mask, _ = examples()
    other = made * mask + 0.123 * (1 - mask)
    assert torch.equal(masked_bce(made, wanted, mask), masked_bce(other, wanted, mask))
    torch.testing.assert_close(masked_mse(made, wanted, mask), masked_mse(other, wanted, mask))
    assert masked_bce(made, wanted, torch.zeros_like(mask)).item() == 0.0


def test_perceptual_distance_by_hand() -> None:
    draw = np.random.default_rng(0)
    made = [draw.standard_normal((2, c, s, s)).astype(np.float32) for c, s in ((4, 6), (8, 3))]
    wanted = [draw.standard_normal(m.shape).astype(np.float32) for m in made]
    terms = []
    for a, b in zip(made, wanted, strict=True):
        a = a / np.linalg.norm(a, axis=1, keepdims=True)
        b = b / np.linalg.norm(b, axis=1, keepdims=True)
        terms.append(((a - b) ** 2).sum(axis=1).mean(axis=(1, 2)))
    found = perceptual_distance(*([torch.from_numpy(m) for m in side] for side in (made, wanted)))
    np.testing.assert_allclose(found.numpy(), np.mean(terms, axis=0), rtol=1e-5)


def test_brightness_of_features_does_not_count_and_the_target_is_fixed() -> None:
    a = torch.randn(2, 3, 4, 4, requires_grad=True)
    wanted = (5 * a.detach()).requires_grad_()
    loss = perceptual_distance([a], [wanted]).sum()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    torch.autograd.backward(loss)
    assert wanted.grad is None


def test_different_numbers_of_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 layers do not match"):
        perceptual_distance([torch.ones(1, 2)] * 2, [torch.ones(1, 2)])
