"""The teacher's judgement of made faces: what it says of equal and of other faces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from facestream.training.generation.judge import Judge, Judgement


def test_weights_are_of_each_face_and_loss() -> None:
    judgement = Judgement(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
    weights = torch.tensor([[0.5, 0.1], [0.5, 0.0]])
    assert judgement.weighted(weights).item() == pytest.approx((0.5 + 1.0 + 1.0) / 2)


@pytest.mark.shared_data
def test_equal_and_other_faces(shared_data: Path) -> None:
    judge = Judge(shared_data / "models/face_recognition_sface_2021dec.onnx", torch.device("cpu"))
    faces = torch.nn.functional.interpolate(torch.rand(2, 3, 14, 14) * 2 - 1, 112, mode="bicubic")
    target = judge.embed(faces)
    same = judge(faces.requires_grad_(True), faces.detach(), target)
    assert float(same.identity.detach().abs().max()) < 1e-4
    assert float(same.perceptual.detach().max()) < 1e-4
    other = judge(faces, faces.detach().flip(0), -target)
    assert float(other.identity.detach().min()) > 1.9
    torch.autograd.backward(other.weighted(torch.tensor([[1.0, 0.0], [0.0, 0.0]])))
    assert faces.grad is not None
    # Only the face that counts is changed, and the teacher never.
    assert float(faces.grad[0].abs().sum()) > 0
    assert float(faces.grad[1].abs().sum()) == 0
    assert all(p.grad is None for p in judge.encoder.parameters())
