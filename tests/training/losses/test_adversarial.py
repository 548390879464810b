"""Adversarial losses against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.losses.adversarial import (
    discriminator_bce,
    feature_matching,
    generator_bce,
)
from scipy.special import expit

REAL, MADE = torch.tensor([2.0, -0.5, 0.3]), torch.tensor([-3.0, 0.2, 1.5])


def test_bce_is_the_likelihood_of_the_right_answer() -> None:
    real, made = expit(REAL.double().numpy()), expit(MADE.double().numpy())
    wanted = -np.log(real).mean() - np.log(1 - made).mean()
    assert discriminator_bce(REAL, MADE).item() == pytest.approx(wanted, rel=1e-5)
    assert generator_bce(MADE).item() == pytest.approx(-np.log(made).mean(), rel=1e-5)


def test_the_generator_still_learns_when_the_discriminator_is_sure() -> None:
    made = torch.tensor([-20.0], requires_grad=True)
    torch.autograd.backward(generator_bce(made))
    assert made.grad is not None
    assert made.grad.item() == pytest.approx(-1.0, abs=1e-4)


def test_feature_matching_averages_the_maps() -> None:
    made = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.ones(2, 5)]
    wanted = [torch.full((2, 3, 4, 4), 2.0, requires_grad=True), torch.ones(2, 5) * 4]
    loss = feature_matching(made, wanted)
    assert loss.item() == pytest.approx((4 + 9) / 2)
    torch.autograd.backward(loss)
    assert made[0].grad is not None
    assert wanted[0].grad is None


@pytest.mark.parametrize("count", [0, 2])
def test_feature_matching_wants_as_many_maps(count: int) -> None:
    with pytest.raises(ValueError, match="cannot be matched"):
        feature_matching([torch.ones(1)] * count, [torch.ones(1)] * (count - 1 if count else 0))
