"""DPNet (Liu et al. 2024), a reconstruction: a U-shape whose skips have a global and a local path of attention.

Documented, in the abstract: the names of its two attentions. SFA has a global and a local path; SCPH is a
spatial-channel positional head.
Not documented, so ours: what the two are made of, the U-shape around them and all widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonoseg.models.attention import split_heads
from sonoseg.models.blocks import DoubleConv, PlainEncoder
from sonoseg.models.depthwise import DilatedDepthwiseConv2d
from sonoseg.models.encoders import Normalize
from sonoseg.models.network import SegmentationNetwork

WIDTHS = (32, 64, 128, 256, 512)
"""Channels of the levels, the finest first."""
REDUCTIONS = (16, 8, 4, 2, 1)
"""Side of the patches that each level's global attention attends to."""
HEADS = (1, 2, 4, 8, 8)
"""Of each level's global attention."""


@dataclass(frozen=True)
class DpNetConfig:
    """The reconstruction has no options."""

    encoders: ClassVar[tuple[str, ...]] = ()
    attention: ClassVar[str] = "sfa+scph"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> DpNet:
        return DpNet(dropout)


class DpNet(SegmentationNetwork):
    """U-shape of five levels; SFA on each skip and at the bottleneck, SCPH there and in each decoder stage.

    11,899,098 parameters. A reconstruction; the head of this module says what is documented.

    Args:
        dropout: share of the bottleneck's channels that training drops.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.encoder = PlainEncoder(3, WIDTHS)
        self.attentions = nn.ModuleList()
        for width, heads, reduction in zip(WIDTHS, HEADS, REDUCTIONS, strict=True):
            self.attentions.append(SFA(width, heads, reduction))
        self.positions = SCPH(WIDTHS[-1])
        self.bottleneck = nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.stages = nn.ModuleList(UpStage(width) for width in reversed(WIDTHS[:-1]))
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 512, H/16, W/16), and the maps at strides 1, 2, 4, 8."""
        deepest, skips = self.encoder(self.normalize(image))
        maps = []
        for attention, level in zip(self.attentions, (*skips, deepest), strict=True):
            maps.append(attention(level))
        return self.positions(maps.pop()), maps


class UpStage(nn.Module):
    """Bilinear up, skip, double convolution, SCPH: (N, 2C, h, w) and (N, C, 2h, 2w) → (N, C, 2h, 2w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = DoubleConv(3 * width, width)
        self.positions = SCPH(width)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(
            below, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        out: Tensor = self.positions(self.conv(torch.cat([up, skip], 1)))
        return out


class SFA(nn.Module):
    """A global and a local path of attention, joined and added: (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.all_over = ReducedAttention(channels, heads, reduction)
        self.nearby = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1),
            nn.Sigmoid(),
        )
        self.join = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = x + self.join(
            torch.cat([self.all_over(x), x * self.nearby(x)], 1)
        )
        return joined


class ReducedAttention(nn.Module):
    """Every position attends to patches of `reduction` × `reduction` (Wang et al. 2021, PVT).

    (N, C, H, W) → (N, C, H, W), H and W multiples of `reduction`.
    """

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.reduce = (
            nn.Conv2d(channels, channels, reduction, stride=reduction)
            if reduction > 1
            else None
        )
        self.reduced_norm = nn.LayerNorm(channels) if reduction > 1 else nn.Identity()
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        patches = tokens
        if self.reduce is not None:
            reduced = self.reduce(tokens.transpose(1, 2).reshape(x.shape))
            patches = reduced.flatten(2).transpose(1, 2)
        key, value = self.key_value(self.reduced_norm(patches)).chunk(2, -1)
        attended = F.scaled_dot_product_attention(
            split_heads(self.query(tokens), self.heads),
            split_heads(key, self.heads),
            split_heads(value, self.heads),
        )
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out.transpose(1, 2).reshape(x.shape)


class SCPH(nn.Module):
    """Convolves at three dilations, then weighs rows, columns and channels: (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.ModuleList(
            DilatedDepthwiseConv2d(channels, dilation) for dilation in (1, 2, 3)
        )
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.weigh = nn.Sequential(CoordinateAttention(channels), ChannelAttention())

    def forward(self, x: Tensor) -> Tensor:
        near, farther, farthest = (conv(x) for conv in self.around)
        weighed: Tensor = x + self.weigh(self.mix(near + farther + farthest))
        return weighed


class CoordinateAttention(nn.Module):
    """Weighs rows and columns by their means (Hou et al. 2021): (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        inner = max(8, channels // reduction)
        self.summary = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.Hardswish(),
        )
        self.rows = nn.Conv2d(inner, channels, 1)
        self.columns = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        row_means = x.mean(3, keepdim=True)
        column_means = x.mean(2, keepdim=True).transpose(2, 3)
        summary = self.summary(torch.cat([row_means, column_means], 2))
        rows, columns = summary.split(list(x.shape[2:]), 2)
        row_weights = self.rows(rows).sigmoid()
        column_weights = self.columns(columns.transpose(2, 3)).sigmoid()
        weighed: Tensor = x * row_weights * column_weights
        return weighed


class ChannelAttention(nn.Module):
    """Weighs each channel by its mean and its neighbours' (ECA, Wang et al. 2020): (N, C, H, W) → (N, C, H, W)."""

    def __init__(self, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.conv(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        weighed: Tensor = x * weights.transpose(1, 2).unsqueeze(3)
        return weighed
