"""The judge's gradient, written out by hand, is torch's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from facestream.training.errors import TrainingError
from facestream.training.generation.judge import Judge, JudgeGraph
from facestream.training.losses.identity import cosine_distance
from facestream.training.losses.perceptual import perceptual_distance
from facestream.training.models.vae import VaeEncoder, make_vae


@pytest.fixture(scope="module")
def teacher() -> VaeEncoder:
    """A trunk with weights and statistics from chance."""
    torch.manual_seed(0)
    encoder = make_vae("mobile").encoder.eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            if module.running_mean is not None and module.running_var is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
            module.weight.uniform_(0.8, 1.5)
            module.bias.normal_(0, 0.1)
    return encoder


def test_losses_and_gradient(teacher: VaeEncoder) -> None:
    made = torch.rand(3, 3, 112, 112) * 2 - 1
    real = torch.rand(3, 3, 112, 112) * 2 - 1
    target = torch.randn(3, 128)
    weights = torch.tensor([[0.5, 0.3], [0.5, 0.0], [0.0, 0.3]])
    leaf = made.clone().requires_grad_(True)
    seen, wanted = (teacher.backbone(x * (127.5 / 128)) for x in (leaf, real))
    mu = teacher.mu_head(seen[-1])
    total = sum(
        w[0] * cosine_distance(mu[i : i + 1], target[i : i + 1])
        + w[1]
        * perceptual_distance([m[i : i + 1] for m in seen[:3]], [m[i : i + 1] for m in wanted[:3]])
        for i, w in enumerate(weights)
    )
    torch.autograd.backward(total)
    with torch.no_grad():
        identity, perceptual, gradient = JudgeGraph(teacher)(made, real, target, weights)
    own = (weights[:, 0] * identity + weights[:, 1] * perceptual).sum()
    assert float(own) == pytest.approx(float(total.detach()), rel=1e-4)
    assert leaf.grad is not None
    assert float((gradient - leaf.grad).norm() / leaf.grad.norm()) < 1e-3


def test_only_the_mobile_trunk() -> None:
    with pytest.raises(TrainingError, match="'mobile' trunk"):
        JudgeGraph(make_vae("residual").encoder)


@pytest.mark.shared_data
def test_in_the_engine(shared_data: Path, tmp_path: Path) -> None:
    sface = shared_data / "models/face_recognition_sface_2021dec.onnx"
    judge = Judge(sface, torch.device("cpu"), threads=1, cache=tmp_path)
    faces = torch.nn.functional.interpolate(torch.rand(2, 3, 14, 14) * 2 - 1, 112, mode="bicubic")
    with torch.no_grad():
        last = judge.encoder.backbone(faces * (127.5 / 128))[-1]
        target = judge.encoder.mu_head(last)
    weights = torch.tensor([[1.0, 1.0]] * 2)
    same = judge(faces.requires_grad_(True), faces.detach(), target, weights)
    assert float(same.identity.abs().max()) < 0.02
    assert float(same.perceptual.max()) < 0.02
    other = judge(faces, faces.detach().flip(0), -target, weights)
    assert float(other.identity.min()) > 1.9
    torch.autograd.backward(other.surrogate)
    assert faces.grad is not None
    assert float(faces.grad.abs().sum()) > 0
