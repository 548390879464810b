"""Margin losses against pytorch-metric-learning and against angles taken by numpy."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from facestream.training.errors import DataError
from facestream.training.losses.margin import (
    arcface_logits,
    check_labels,
    cosface_logits,
    margin_loss,
    rotate,
)
from hypothesis import given
from hypothesis import strategies as st

# The library has no types: a plain import would be an error of mypy's.
peers = importlib.import_module("pytorch_metric_learning.losses")
N, C, D = 7, 5, 8


def examples(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(N, D, generator=draw),
        torch.randn(C, D, generator=draw),
        torch.randint(0, C, (N,), generator=draw),
    )


def angles(embedding: torch.Tensor, centres: torch.Tensor) -> np.ndarray:
    a, b = embedding.double().numpy(), centres.double().numpy()
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return np.asarray(np.arccos(a @ b.T / norms))


def test_cosface_by_hand_and_by_the_library() -> None:
    embedding, centres, labels = examples()
    wanted = np.cos(angles(embedding, centres))
    wanted[np.arange(N), labels] -= 0.3
    logits = cosface_logits(embedding, centres, labels, margin=0.3, scale=20)
    np.testing.assert_allclose(logits.numpy(), 20 * wanted, atol=1e-4)
    peer = peers.CosFaceLoss(num_classes=C, embedding_size=D, margin=0.3, scale=20)
    peer.W.data = centres.T.clone()
    torch.testing.assert_close(margin_loss(logits, labels), peer(embedding, labels).detach())


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.4])
def test_arcface_by_hand_and_by_the_library(margin: float) -> None:
    embedding, centres, labels = examples(3)
    embedding[0] = -centres[labels[0]]  # θ = π: past the end for any margin
    theta = angles(embedding, centres)
    wanted = np.cos(theta)
    own = theta[np.arange(N), labels]
    wanted[np.arange(N), labels] = np.where(
        own <= math.pi - margin, np.cos(own + margin), np.cos(own) - margin * math.sin(margin)
    )
    logits = arcface_logits(embedding, centres, labels, margin=margin, scale=16)
    np.testing.assert_allclose(logits.numpy(), 16 * wanted, atol=2e-2)
    peer = peers.ArcFaceLoss(num_classes=C, embedding_size=D, margin=math.degrees(margin), scale=16)
    peer.W.data = centres.T.clone()
    torch.testing.assert_close(
        margin_loss(logits, labels), peer(embedding, labels).detach(), atol=2e-3, rtol=1e-4
    )


@given(st.floats(-0.999, 0.999), st.floats(0.0, 1.5))
def test_rotation_is_that_of_the_angle(cosine: float, angle: float) -> None:
    found = rotate(torch.tensor([cosine], dtype=torch.float64), angle)
    assert found.item() == pytest.approx(math.cos(math.acos(cosine) + angle), abs=1e-6)


def test_a_picture_that_is_its_own_centre_has_a_gradient() -> None:
    """A class with one picture: the peer's gradient there is no number."""
    centres = torch.eye(4)
    embedding = centres[:2].clone().requires_grad_()
    torch.autograd.backward(
        margin_loss(arcface_logits(embedding, centres, torch.tensor([0, 1])), torch.tensor([0, 1]))
    )
    assert embedding.grad is not None
    assert torch.isfinite(embedding.grad).all()


def test_computed_in_float32_under_autocast() -> None:
    embedding, centres, labels = examples()
    wanted = cosface_logits(embedding, centres, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cosface_logits(embedding.bfloat16().float(), centres, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.5, rtol=0)


def test_one_person_is_refused() -> None:
    with pytest.raises(DataError, match="at least 2 people, these are of 1"):
        cosface_logits(torch.randn(3, D), torch.randn(1, D), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("bad", [-1, 5])
def test_a_class_out_of_range_is_named(bad: int) -> None:
    with pytest.raises(DataError, match=rf"class {bad} is outside 0\.\.4"):
        check_labels(torch.tensor([0, bad, 2]), C)


def test_no_labelled_picture_costs_nothing() -> None:
    centres = torch.randn(C, D, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    loss = margin_loss(arcface_logits(torch.zeros(0, D), centres, none), none)
    torch.autograd.backward(loss)
    assert loss.item() == 0.0
