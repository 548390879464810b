"""The trunk ``mobile``: SFace's MobileNetV1."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from .trunk import INPUT_SIZE, Backbone, conv_bn_prelu


class Mobile(Backbone):
    """The plain MobileNetV1 of SFace (0.57 GMAC, 3.2 M parameters without heads).

    Layer for layer the graph of OpenCV Zoo's SFace, so that its weights can be the start
    (``sface.load_sface``).
    """

    # (output channels, stride) of each depthwise-separable block after the first convolution.
    BLOCKS: Final = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *((512, 1),) * 5,
        (1024, 2),
        (1024, 1),
    )
    # Blocks after which a stage ends: 56², 28², 14² and 7² maps.
    TAPS: Final = (2, 4, 10, 12)

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn_prelu(3, 32, kernel=3)
        blocks: list[nn.Module] = []
        channels = 32
        for out_channels, stride in self.BLOCKS:
            blocks.append(
                nn.Sequential(
                    conv_bn_prelu(channels, channels, kernel=3, stride=stride, groups=channels),
                    conv_bn_prelu(channels, out_channels, kernel=1),
                )
            )
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.stage_channels = tuple(self.BLOCKS[tap][0] for tap in self.TAPS)
        self.out_size = INPUT_SIZE // 16

    def forward(self, faces: Tensor) -> list[Tensor]:
        maps = []
        x = self.stem(faces)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.TAPS:
                maps.append(x)
        return maps
