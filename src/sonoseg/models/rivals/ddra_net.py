"""DDRA-Net (Sun et al. 2024), a reconstruction: UPerNet on ResNet-50, with two paths of attention at each scale.

Documented: the title's words "dual-channel deep residual attention UPerNet", and no more. UPerNet itself, its pooling
pyramid and its fusion of scales, is documented by Xiao et al. 2018.
Not documented, so ours: what the two channels are, the encoder and all widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from sonoseg.models.blocks import ConvBlock
from sonoseg.models.encoders import Encoders
from sonoseg.models.network import Output, SegmentationNetwork

WIDTH = 256
"""Channels of every scale of the decoder."""
POOLS = (1, 2, 3, 6)
"""Sizes of the pooled maps."""


@dataclass(frozen=True)
class DdraNetConfig:
    """The reconstruction has no options."""

    encoders: ClassVar[tuple[str, ...]] = ("resnet50",)
    attention: ClassVar[str] = "se+spatial"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> DdraNet:
        return DdraNet(dropout, pretrained)


class DdraNet(SegmentationNetwork):
    """ResNet-50 → dual residual attention → pyramid pooling → feature pyramid, fused at stride 4.

    41,317,641 parameters. A reconstruction; the head of this module says what is documented.

    Args:
        dropout: share of the bottleneck's channels that training drops.
        pretrained: start the encoder from timm's ImageNet weights.
    """

    def __init__(self, dropout: float = 0.3, pretrained: bool = False) -> None:
        super().__init__()
        self.encoders = Encoders(("resnet50",), frozen=False, pretrained=pretrained)
        _, *skips, deepest = self.encoders.channels
        self.bottleneck = nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList([PoolingStage(deepest)])
        self.stages.extend(PyramidStage(skip) for skip in reversed(skips))
        self.smooth = nn.ModuleList(ConvBlock(WIDTH, WIDTH) for _ in skips)
        self.fuse = ConvBlock(len(self.stages) * WIDTH, WIDTH)
        self.head = nn.Conv2d(WIDTH, 1, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 2048, H/32, W/32), and the maps at strides 2, 4, 8, 16."""
        features, maps = self.encoders(image)
        return features, maps

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> Output:
        levels = [self.stages[0](self.dropout(self.bottleneck(features)))]
        for stage, skip in zip(self.stages[1:], reversed(maps[1:]), strict=True):
            levels.append(stage(levels[-1], skip))
        smoothed = [levels[0]]
        for smooth, level in zip(self.smooth, levels[1:], strict=True):
            smoothed.append(smooth(level))
        finest = levels[-1].shape[2:]
        joined = torch.cat([resize(level, finest) for level in smoothed], 1)
        return Output(resize(self.head(self.fuse(joined)), size))


class PoolingStage(nn.Module):
    """Dual attention, then pyramid pooling (Zhao et al. 2017): (N, `inputs`, h, w) → (N, 256, h, w)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.lateral = nn.Sequential(ConvBlock(inputs, WIDTH, 1), DualAttention(WIDTH))
        self.pooled = nn.ModuleList(ConvBlock(WIDTH, WIDTH, 1) for _ in POOLS)
        self.conv = ConvBlock((1 + len(POOLS)) * WIDTH, WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        x = self.lateral(features)
        maps = [x]
        for conv, bins in zip(self.pooled, POOLS, strict=True):
            pooled = conv(F.adaptive_avg_pool2d(x, bins))
            maps.append(resize(pooled, x.shape[2:]))
        out: Tensor = self.conv(torch.cat(maps, 1))
        return out


class PyramidStage(nn.Module):
    """The skip with dual attention, added to the map from below.

    (N, 256, h, w) and (N, `skip`, 2h, 2w) → (N, 256, 2h, 2w).
    """

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.lateral = nn.Sequential(ConvBlock(skip, WIDTH, 1), DualAttention(WIDTH))

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        out: Tensor = self.lateral(skip) + resize(below, skip.shape[2:])
        return out


class DualAttention(nn.Module):
    """Two residual paths, both (N, C, H, W) → (N, C, H, W).

    One weighs the channels (squeeze-and-excitation, Hu et al. 2018). The other, with dilation, weighs the places.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.of_channels = nn.Sequential(
            ConvBlock(channels, channels),
            ConvBlock(channels, channels),
            SqueezeExcitation(channels, channels // reduction),
        )
        self.of_places = nn.Sequential(
            ConvBlock(channels, channels, dilation=2),
            ConvBlock(channels, channels, dilation=2),
            SpatialAttention(),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.of_channels(x) + self.of_places(x)
        return out


class SpatialAttention(nn.Module):
    """Weighs each place by the mean and the maximum of its channels, 7×7 (Woo et al. 2018).

    (N, C, H, W) → (N, C, H, W).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        weighed: Tensor = x * self.conv(summary).sigmoid()
        return weighed


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, h, w) → (N, C, H, W), bilinearly."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
