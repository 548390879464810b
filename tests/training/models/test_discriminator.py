"""The discriminator: shapes, its bound, and that it can learn to tell."""

from __future__ import annotations

import torch
from facestream.training.losses.adversarial import discriminator_bce
from facestream.training.models.discriminator import Discriminator


def test_logits_and_maps() -> None:
    model = Discriminator()
    logits, maps = model(torch.rand(2, 3, 112, 112) * 2 - 1)
    assert logits.shape == (2,)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (32, 56, 56),
        (64, 28, 28),
        (128, 14, 14),
        (256, 7, 7),
    ]


def test_weights_are_of_spectral_norm_one() -> None:
    torch.manual_seed(0)
    model = Discriminator(widths=(4, 8, 8, 8)).train()
    for _ in range(30):  # each forward in training is one step of the power iteration
        model(torch.zeros(1, 3, 112, 112))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            sigma = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            torch.testing.assert_close(sigma, torch.tensor(1.0), atol=0.05, rtol=0)


def test_it_learns_to_tell_bright_from_dark() -> None:
    torch.manual_seed(0)
    model = Discriminator(widths=(4, 8, 8, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        real = torch.rand(4, 3, 112, 112)
        loss = discriminator_bce(model(real)[0], model(-real)[0])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        probe = torch.rand(4, 3, 112, 112)
        assert model(probe)[0].min() > model(-probe)[0].max()
