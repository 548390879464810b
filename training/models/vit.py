"""The trunk ``vit``: a small transformer over patches (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .trunk import INPUT_SIZE, Backbone


class _Block(nn.Module):
    """Attention among all patches, then two dense layers, each on normalised tokens and added."""

    def __init__(self, dim: int, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.norm_dense = nn.LayerNorm(dim)
        self.dense = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """N×T×D to the same."""
        qkv = self.qkv(self.norm_attention(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(seen.transpose(1, 2).flatten(2))
        out: Tensor = tokens + self.dense(self.norm_dense(tokens))
        return out


class Vit(Backbone):
    """Patches of 8×8 (196 tokens of 192), six blocks of three heads (0.53 GMAC, 2.3 M parameters).

    The tokens after the patches, after two and four blocks are its stages, as 14×14 maps; the
    last one, normalised, is averaged to 7×7, so that the mu head is no larger than the trunk.
    """

    PATCH: Final = 8
    DIM: Final = 192
    HEADS: Final = 3
    HIDDEN: Final = 576
    BLOCKS: Final = 6
    # Blocks after which a stage ends; before the first, the patches are one.
    TAPS: Final = (1, 3)

    def __init__(self) -> None:
        super().__init__()
        side = INPUT_SIZE // self.PATCH
        self.patches = nn.Conv2d(3, self.DIM, self.PATCH, stride=self.PATCH)
        self.position = nn.Parameter(torch.zeros(1, side * side, self.DIM))
        self.blocks = nn.ModuleList(
            _Block(self.DIM, heads=self.HEADS, hidden=self.HIDDEN) for _ in range(self.BLOCKS)
        )
        self.norm = nn.LayerNorm(self.DIM)
        nn.init.trunc_normal_(self.position, std=0.02)
        self.stage_channels = (self.DIM,) * (len(self.TAPS) + 2)
        self.out_size = side // 2

    def forward(self, faces: Tensor) -> list[Tensor]:
        first = self.patches(faces)
        maps = [first]
        tokens = first.flatten(2).transpose(1, 2) + self.position
        for i, block in enumerate(self.blocks):
            tokens = block(tokens)
            if i in self.TAPS:
                maps.append(self._as_map(tokens))
        maps.append(F.avg_pool2d(self._as_map(self.norm(tokens)), 2))
        return maps

    def _as_map(self, tokens: Tensor) -> Tensor:
        side = INPUT_SIZE // self.PATCH
        return tokens.transpose(1, 2).reshape(-1, self.DIM, side, side)
