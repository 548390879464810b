"""Each loss against a recomputation in numpy, and the one place that samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.errors import CollapseError
from facestream.training.fit.guards import check_alive, check_finite, latent_health
from facestream.training.losses.identity import cosine_distance, direction, heteroscedastic_nll
from facestream.training.losses.latent import annealed, kl_loss, kl_per_dimension
from facestream.training.losses.reconstruction import masked_mse
from facestream.training.models.vae import reparameterise
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

RNG = np.random.default_rng(3)
MU = RNG.standard_normal((5, 7)).astype(np.float32)
LOGVAR = RNG.uniform(-2, 1, (5, 7)).astype(np.float32)
TARGET = RNG.standard_normal((5, 7)).astype(np.float32)


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(a, np.float32)) for a in arrays]


def test_kl_is_the_integral_it_stands_for() -> None:
    mu, logvar = 0.7, -0.4
    own, prior = stats.norm(mu, np.exp(logvar / 2)), stats.norm()
    wanted, _ = integrate.quad(lambda x: own.pdf(x) * (own.logpdf(x) - prior.logpdf(x)), -9, 9)
    (found,) = kl_per_dimension(*tensors(np.array([[mu]]), np.array([[logvar]])))
    assert found.item() == pytest.approx(wanted, abs=1e-5)


def test_kl_loss_leaves_dimensions_under_the_floor_alone() -> None:
    each = (0.5 * (MU**2 + np.exp(LOGVAR) - 1 - LOGVAR)).mean(axis=0)
    for floor in (0.0, 0.3, 0.9):
        found = kl_loss(*tensors(MU, LOGVAR), free_bits=floor).item()
        assert found == pytest.approx(np.maximum(each, floor).mean(), rel=1e-5)


@given(st.floats(-3, 3), st.floats(-6, 3))
def test_kl_is_never_negative(mu: float, logvar: float) -> None:
    value = kl_per_dimension(torch.tensor([[mu]]), torch.tensor([[logvar]])).item()
    assert value >= -1e-5


def test_annealing_rises_to_its_weight() -> None:
    assert [annealed(0.5, step, 4) for step in (0, 1, 2, 4, 9)] == [0, 0.125, 0.25, 0.5, 0.5]
    assert annealed(0.5, 0, 0) == 0.5


def test_masked_mse_counts_the_mask_only() -> None:
    made, wanted = RNG.random((2, 3, 4, 5)), RNG.random((2, 3, 4, 5))
    mask = RNG.integers(0, 2, (2, 1, 4, 5))
    chosen = np.broadcast_to(mask, made.shape).astype(bool)
    expected = ((made - wanted)[chosen] ** 2).mean()
    assert masked_mse(*tensors(made, wanted, mask)).item() == pytest.approx(expected, rel=1e-5)
    assert masked_mse(*tensors(made, wanted, 0 * mask)).item() == 0.0


def test_cosine_distance_and_direction() -> None:
    cosine = (MU * TARGET).sum(1) / np.linalg.norm(MU, axis=1) / np.linalg.norm(TARGET, axis=1)
    assert cosine_distance(*tensors(MU, TARGET)).item() == pytest.approx(
        1 - cosine.mean(), rel=1e-5
    )
    lengths = direction(torch.from_numpy(MU)).norm(dim=1).numpy()
    np.testing.assert_allclose(lengths, np.sqrt(7), rtol=1e-5)


def test_heteroscedastic_nll_is_the_gaussians() -> None:
    logpdf = stats.norm(MU, np.exp(LOGVAR / 2)).logpdf(TARGET) + 0.5 * np.log(2 * np.pi)
    found = heteroscedastic_nll(*tensors(MU, LOGVAR, TARGET)).item()
    assert found == pytest.approx(-logpdf.mean(), rel=1e-4)
    weight = np.array([1, 0, 2, 0, 0.5])
    weighted = heteroscedastic_nll(
        *tensors(MU, LOGVAR, TARGET), weight=torch.from_numpy(weight).float()
    )
    expected = (-logpdf.mean(axis=1) * weight).sum() / weight.sum()
    assert weighted.item() == pytest.approx(expected, rel=1e-4)


def test_heteroscedastic_nll_is_least_where_sigma_is_the_error() -> None:
    mu, target = torch.zeros(1, 1), torch.full((1, 1), 0.8)
    grid = torch.linspace(-3, 2, 501)
    for floor in (0.0, 0.5):
        losses = [heteroscedastic_nll(mu, g.view(1, 1), target, floor=floor) for g in grid]
        best = grid[int(torch.stack(losses).argmin())].item()
        assert best == pytest.approx(np.log(0.8**2 + floor), abs=0.02)


def test_reparameterisation_has_the_mean_and_spread_it_was_given() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.tensor([[0.5, -2.0]]), torch.tensor([[0.0, -2.0]])
    z = reparameterise(mu.expand(40000, 2), logvar.expand(40000, 2)).numpy()
    np.testing.assert_allclose(z.mean(axis=0), [0.5, -2.0], atol=0.03)
    np.testing.assert_allclose(z.std(axis=0), np.exp([0.0, -1.0]), rtol=0.03)
    fixed = reparameterise(mu, logvar, torch.zeros(1, 2))
    assert torch.equal(fixed, mu)


def test_reparameterisation_passes_gradients_to_both() -> None:
    mu, logvar = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    torch.autograd.backward(reparameterise(mu, logvar, torch.full((1, 1), 2.0)).sum())
    assert mu.grad is not None
    assert logvar.grad is not None
    assert mu.grad.item() == 1.0
    assert logvar.grad.item() == pytest.approx(0.5 * 2.0)  # ½·eps·sigma


def test_guards_stop_a_dead_latent_code() -> None:
    dead = latent_health(torch.zeros(8, 4), torch.zeros(8, 4))
    with pytest.raises(CollapseError, match="posterior collapse at step 500"):
        check_alive(dead, 500, warm_up=100)
    check_alive(dead, 50, warm_up=100)
    same_sigma = latent_health(torch.randn(8, 4), torch.full((8, 4), -1.0))
    with pytest.raises(CollapseError, match="sigma collapsed"):
        check_alive(same_sigma, 500, warm_up=100)
    healthy = latent_health(torch.randn(8, 4), torch.randn(8, 1).expand(8, 4))
    check_alive(healthy, 500, warm_up=100)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_guards_stop_a_loss_that_is_no_number(loss: float) -> None:
    with pytest.raises(CollapseError, match="at step 7; the last checkpoint is kept"):
        check_finite(loss, 7)
