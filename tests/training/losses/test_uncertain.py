"""DUL from its parts by numpy, and the gradient that reaches sigma."""

from __future__ import annotations

import numpy as np
import torch
from facestream.training.losses.margin import dul_loss
from facestream.training.models.vae import reparameterise
from scipy.special import log_softmax


def test_by_hand() -> None:
    draw = torch.Generator().manual_seed(0)
    mu, logvar, noise = (torch.randn(6, 5, generator=draw) for _ in range(3))
    centres, labels = torch.randn(3, 5, generator=draw), torch.tensor([0, 1, 2, 0, 1, 2])
    found = dul_loss(
        reparameterise(mu, logvar, noise), mu, logvar, centres, labels, margin=0.2, scale=8
    )
    m, v, e, c = (t.double().numpy() for t in (mu, logvar, noise, centres))
    z = m + e * np.exp(v / 2)
    cosine = (z / np.linalg.norm(z, axis=1)[:, None]) @ (c / np.linalg.norm(c, axis=1)[:, None]).T
    cosine[np.arange(6), labels] -= 0.2
    softmax = -log_softmax(8 * cosine, axis=1)[np.arange(6), labels].mean()
    kl = np.mean(-0.5 * (1 + v - m**2 - np.exp(v)))
    np.testing.assert_allclose(found.item(), softmax + 0.01 * kl, rtol=1e-5)


def test_sigma_is_trained_by_the_sample() -> None:
    mu, logvar = torch.randn(4, 5), torch.zeros(4, 5, requires_grad=True)
    sample = reparameterise(mu, logvar, torch.randn(4, 5))
    loss = dul_loss(
        sample, mu, logvar, torch.randn(3, 5), torch.tensor([0, 1, 2, 0]), kl_weight=0.0
    )
    torch.autograd.backward(loss)
    assert logvar.grad is not None
    assert logvar.grad.abs().sum() > 0
