"""AdaFace against the formulas by hand, and at the qualities where it is ArcFace and CosFace."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facestream.training.errors import DataError
from facestream.training.losses.margin import (
    adaface_logits,
    arcface_logits,
    cosface_logits,
    norm_quality,
)

N, C, D = 9, 4, 6


def examples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    return (
        torch.randn(N, D, generator=draw),
        torch.randn(C, D, generator=draw),
        torch.randint(0, C, (N,), generator=draw),
    )


def test_logits_by_hand() -> None:
    embedding, centres, labels = examples()
    quality = torch.linspace(-1, 1, N)
    a, b = embedding.double().numpy(), centres.double().numpy()
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    wanted = a @ b.T
    for i, (label, q) in enumerate(zip(labels.numpy(), quality.double().numpy(), strict=True)):
        theta = np.clip(np.arccos(wanted[i, label]) - 0.4 * q, 1e-3, np.pi - 1e-3)
        wanted[i, label] = np.cos(theta) - (0.4 + 0.4 * q)
    found = adaface_logits(embedding, centres, labels, quality, margin=0.4, scale=10)
    np.testing.assert_allclose(found.numpy(), 10 * wanted, atol=1e-4)


def test_poor_pictures_get_arcface_average_ones_cosface() -> None:
    embedding, centres, labels = examples()
    poor = adaface_logits(embedding, centres, labels, torch.full((N,), -1.0), margin=0.3)
    average = adaface_logits(embedding, centres, labels, torch.zeros(N), margin=0.3)
    torch.testing.assert_close(
        poor, arcface_logits(embedding, centres, labels, margin=0.3), atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(
        average, cosface_logits(embedding, centres, labels, margin=0.3), atol=1e-3, rtol=1e-3
    )


def test_quality_is_the_standardised_length_and_bounded() -> None:
    norms = torch.tensor([10.0, 20.0, 26.0, 500.0], requires_grad=True)
    quality = norm_quality(norms, torch.tensor(20.0), torch.tensor(5.0), spread=0.333)
    wanted = np.clip((np.array([10, 20, 26, 100]) - 20) / (5 + 1e-3) * 0.333, -1, 1)
    np.testing.assert_allclose(quality.numpy(), wanted, atol=1e-5)
    assert not quality.requires_grad


def test_one_person_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 people"):
        adaface_logits(torch.randn(2, D), torch.randn(1, D), torch.zeros(2).long(), torch.zeros(2))
