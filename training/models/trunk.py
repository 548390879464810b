"""What every trunk of the encoder is: a picture in, feature maps of several stages out.

A trunk maps N×3×112×112 (already normalised, about −1..1) to a list of feature maps. The last one
carries identity; the earlier ones also carry what blur, noise and compression leave behind, and
the log-variance head reads their means.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

INPUT_SIZE: Final = 112


class Backbone(nn.Module):
    """Base of the trunks.

    Attributes:
        stage_channels: channels of each feature map that ``forward`` returns.
        out_size: height and width of the last map.
    """

    stage_channels: tuple[int, ...]
    out_size: int

    def forward(self, faces: Tensor) -> list[Tensor]:
        """Feature maps of the stages, the last one last.

        Args:
            faces: N×3×112×112 float, about −1..1.
        """
        raise NotImplementedError


def conv_bn_prelu(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, PReLU with a slope per channel."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels, eps=1e-3),
        nn.PReLU(out_channels),
    )
