"""ADU-NET (Ejiyi et al. 2024), a reconstruction: a six-level U-Net with attention at its skips and its bottleneck.

Documented: the title's words "attention-enriched deeper UNet", and no more.
Not documented, so ours: the number of levels, their widths, the kinds of attention and where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sonoseg.models.attention import CBAM
from sonoseg.models.blocks import DoubleConv, PlainEncoder
from sonoseg.models.encoders import Normalize
from sonoseg.models.network import SegmentationNetwork

WIDTHS = (32, 64, 128, 256, 512, 1024)
"""Channels of the levels, the finest first."""


@dataclass(frozen=True)
class AduNetConfig:
    """The reconstruction has no options."""

    encoders: ClassVar[tuple[str, ...]] = ()
    attention: ClassVar[str] = "gates+cbam"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> AduNet:
        return AduNet(dropout)


class AduNet(SegmentationNetwork):
    """U-Net of six levels, CBAM at the bottleneck, an attention gate on each skip; 31,584,354 parameters.

    A reconstruction; the head of this module says what is documented.

    Args:
        dropout: share of the bottleneck's channels that training drops.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.encoder = PlainEncoder(3, WIDTHS)
        self.attention = CBAM(WIDTHS[-1], reduction=16)
        self.bottleneck = nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList(
            GatedStage(width) for width in reversed(WIDTHS[:-1])
        )
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 1024, H/32, W/32), and the maps at strides 1, 2, 4, 8, 16."""
        deepest, maps = self.encoder(self.normalize(image))
        return self.attention(deepest), maps


class GatedStage(nn.Module):
    """Transposed convolution, gated skip, double convolution: (N, 2C, h, w) and (N, C, 2h, 2w) → (N, C, 2h, 2w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.gate = AttentionGate(width)
        self.conv = DoubleConv(2 * width, width)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        up = self.up(below)
        out: Tensor = self.conv(torch.cat([up, self.gate(skip, up)], 1))
        return out


class AttentionGate(nn.Module):
    """Weighs each place of the skip by the map from below (Oktay et al. 2018); both are (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.of_skip = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner)
        )
        self.of_below = nn.Sequential(
            nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner)
        )
        self.weight = nn.Sequential(
            nn.ReLU(), nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid()
        )

    def forward(self, skip: Tensor, below: Tensor) -> Tensor:
        gated: Tensor = skip * self.weight(self.of_skip(skip) + self.of_below(below))
        return gated
