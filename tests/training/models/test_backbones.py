"""All trunks: shapes, cost, heads on top, and their export."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from facestream.training.export.encoder_onnx import export_encoder, parity
from facestream.training.models.backbones import BackboneName, make_backbone
from facestream.training.models.cost import count_macs, count_parameters
from facestream.training.models.vae import VaeEncoder, make_vae

NAMES: tuple[BackboneName, ...] = get_args(BackboneName)


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_as_the_trunk_says(name: BackboneName) -> None:
    trunk = make_backbone(name).eval()
    with torch.no_grad():
        maps = trunk(torch.rand(2, 3, 112, 112) * 2 - 1)
    assert tuple(m.shape[1] for m in maps) == trunk.stage_channels
    assert maps[-1].shape[2:] == (trunk.out_size, trunk.out_size)
    assert all(torch.isfinite(m).all() for m in maps)


@pytest.mark.parametrize("name", NAMES)
def test_each_costs_at_most_600_million(name: BackboneName) -> None:
    encoder = make_vae(name).encoder
    assert 50e6 < count_macs(encoder, torch.zeros(1, 3, 112, 112)) <= 600e6


def test_macs_by_hand() -> None:
    """The textbook's network: each convolution at the size before its pooling."""
    wanted = sum(
        (112 >> i) ** 2 * 9 * before * after
        for i, (before, after) in enumerate(((3, 32), (32, 64), (64, 128), (128, 256)))
    )
    assert count_macs(make_backbone("conv"), torch.zeros(1, 3, 112, 112)) == wanted


def test_macs_of_attention_by_hand() -> None:
    tokens, dim = 14 * 14, 192
    block = tokens * (4 * dim * dim + 2 * dim * 576) + 2 * tokens * tokens * dim
    wanted = tokens * (3 * 8 * 8) * dim + 6 * block
    assert count_macs(make_backbone("vit"), torch.zeros(1, 3, 112, 112)) == wanted


def test_counting_leaves_the_mode_alone() -> None:
    encoder = make_vae("residual").encoder.train()
    encoder.mu_head.norm_in.eval()
    count_macs(encoder, torch.zeros(2, 3, 112, 112))
    assert encoder.training
    assert encoder.backbone.training
    assert not encoder.mu_head.norm_in.training


def test_parameters_by_hand() -> None:
    wanted = sum(9 * a * b + b for a, b in ((3, 32), (32, 64), (64, 128), (128, 256)))
    assert count_parameters(make_backbone("conv")) == wanted


@pytest.mark.parametrize("name", ["conv", "vit"])
def test_every_part_is_trained(name: BackboneName) -> None:
    encoder = make_vae(name, dim=8).encoder
    mu, logvar = encoder(torch.rand(4, 3, 112, 112) * 255)
    torch.autograd.backward((mu * torch.randn_like(mu)).sum() + logvar.sum())
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["mobile", "conv", "vit"])  # residual: test_model.py
def test_export_agrees_with_torch(name: BackboneName, tmp_path: Path) -> None:
    torch.manual_seed(2)
    encoder: VaeEncoder = make_vae(name).encoder.train()
    with torch.no_grad():
        for _ in range(2):
            encoder(torch.rand(4, 3, 112, 112) * 255)
    encoder.eval()
    path = tmp_path / f"{name}.onnx"
    assert export_encoder(encoder, path) >= 0.9995
    faces = np.random.default_rng(0).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    assert parity(encoder, path, faces) >= 0.9995
    assert path.stat().st_size < 20e6
