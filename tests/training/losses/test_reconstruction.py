"""Reconstruction losses against scipy, pixel by pixel under the mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.losses.reconstruction import masked_bce, masked_gaussian_nll, masked_mse
from scipy.special import rel_entr
from scipy.stats import norm


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


@pytest.mark.parametrize("logvar", [-3.0, 0.0, 1.0])
def test_gaussian_nll(logvar: float) -> None:
    made, wanted, mask, use = examples()
    likelihood = norm.logpdf(wanted.numpy(), loc=made.numpy(), scale=np.exp(logvar / 2))
    rows = -np.asarray(likelihood)
    found = masked_gaussian_nll(made, wanted, mask, torch.tensor(logvar))
    assert found.item() == pytest.approx(rows[use].mean(), rel=1e-5)


def test_the_best_sigma_is_the_size_of_the_error() -> None:
    made, wanted, mask, _ = examples()
    best = masked_mse(made, wanted, mask).log()
    logvar = best.clone().requires_grad_()
    torch.autograd.backward(masked_gaussian_nll(made, wanted, mask, logvar))
    assert logvar.grad is not None
    assert logvar.grad.item() == pytest.approx(0, abs=1e-6)


def test_what_is_outside_the_mask_does_not_count() -> None:
    made, wanted, mask, _ = examples()
    other = made * mask + 0.123 * (1 - mask)
    zero = torch.tensor(0.0)
    assert torch.equal(masked_bce(made, wanted, mask), masked_bce(other, wanted, mask))
    torch.testing.assert_close(
        masked_gaussian_nll(made, wanted, mask, zero),
        masked_gaussian_nll(other, wanted, mask, zero),
    )
    assert masked_bce(made, wanted, torch.zeros_like(mask)).item() == 0.0
