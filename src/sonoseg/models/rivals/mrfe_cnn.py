"""MRFE-CNN (Ranjbarzadeh et al. 2022), a reconstruction: a shallow network of several feature-extraction routes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from sonoseg.models.blocks import ConvBlock
from sonoseg.models.network import Output, SegmentationNetwork

WIDTHS = (1, 32, 32, 64, 64)
ROUTES = ((1, 1, 1, 1), (1, 2, 4, 8), (1, 4, 8, 16))
"""The dilations along each route: the same kernels see 9, 31 or 59 pixels across."""


@dataclass(frozen=True)
class MrfeCnnConfig:
    """The reconstruction; it has no options."""

    encoders: ClassVar[tuple[str, ...]] = ()
    attention: ClassVar[str] = "none"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> MrfeCnn:
        return MrfeCnn(dropout)


class MrfeCnn(SegmentationNetwork):
    """CLAHE → three routes of four convolutions at full resolution → three 1×1 layers; 228,577 parameters.

    A reconstruction. Documented are a shallow network, several routes of feature extraction, the enhancement of the
    image before it, and that each pixel is classified by the patch around it; on mammograms. CLAHE as the enhancement,
    the number of routes, their widths and dilations, and running it over all patches at once are ours.

    Args:
        dropout: share of the first 1×1 layer's answers that training drops.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.routes = nn.ModuleList(
            nn.ModuleList(
                ConvBlock(inputs, outputs, dilation=dilation)
                for inputs, outputs, dilation in zip(
                    WIDTHS[:-1], WIDTHS[1:], dilations, strict=True
                )
            )
            for dilations in ROUTES
        )
        self.bottleneck = nn.Identity()
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(len(ROUTES) * WIDTHS[-1], 128, 1), nn.ReLU(), nn.Dropout(dropout)
                ),
                nn.Sequential(nn.Conv2d(128, 64, 1), nn.ReLU()),
            ]
        )
        self.head = nn.Conv2d(64, 1, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 192, H, W), and the maps of the layers before, all (N, C, H, W)."""
        x = [equalize(image.mean(1, keepdim=True))] * len(self.routes)
        maps = []
        for blocks in zip(*self.routes, strict=True):
            x = [block(route) for block, route in zip(blocks, x, strict=True)]
            maps.append(torch.cat(x, 1))
        return maps[-1], maps[:-1]

    def decode(self, features: Tensor, maps: list[Tensor], size: Sequence[int]) -> Output:
        x = self.bottleneck(features)
        for stage in self.stages:
            x = stage(x)
        return Output(self.head(x))


@torch.no_grad()
def equalize(image: Tensor, tiles: int = 8, levels: int = 256, limit: float = 2.0) -> Tensor:
    """Contrast-limited adaptive histogram equalisation, CLAHE (Zuiderveld 1994).

    Every tile of the image has its own grey map, its histogram's running sum; a pixel's is interpolated between those
    of the four tiles around it.

    Args:
        image: (N, 1, H, W) in 0..1, H and W multiples of `tiles`.
        tiles: along each side.
        levels: of grey.
        limit: no level counts for more than so many times the mean; what is cut off goes to all levels alike.

    Returns:
        (N, 1, H, W) in 0..1.
    """
    count, (height, width) = image.shape[0], (length // tiles for length in image.shape[2:])
    grey = (image.float() * (levels - 1)).round().long().clamp(0, levels - 1)
    pixels = (
        grey.view(count, tiles, height, tiles, width).transpose(2, 3).reshape(count, tiles**2, -1)
    )
    histogram = torch.zeros(count, tiles**2, levels, device=image.device)
    histogram = histogram.scatter_add(2, pixels, torch.ones_like(pixels, dtype=histogram.dtype))
    cut = histogram.clamp(max=limit * height * width / levels)
    cut = cut + (height * width - cut.sum(2, keepdim=True)) / levels
    maps = cut.cumsum(2).flatten(1) / (height * width)
    flat = grey.flatten(1)
    (top, bottom, down), (left, right, across) = (
        _neighbours(n, tiles, image.device) for n in (height, width)
    )
    result = torch.zeros_like(flat, dtype=maps.dtype)
    for row, vertical in ((top, 1 - down), (bottom, down)):
        for column, horizontal in ((left, 1 - across), (right, across)):
            tile = (row[:, None] * tiles + column).flatten()
            result = result + (vertical[:, None] * horizontal).flatten() * maps.gather(
                1, tile * levels + flat
            )
    return result.view_as(image)


def _neighbours(length: int, tiles: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel along an axis of `tiles` tiles of `length`: the tile before, the one after, and how near it is."""
    place = (torch.arange(length * tiles, device=device) + 0.5) / length - 0.5
    place = place.clamp(0, tiles - 1)
    before = place.long()
    return before, (before + 1).clamp(max=tiles - 1), place - before
