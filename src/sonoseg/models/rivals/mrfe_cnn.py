"""MRFE-CNN (Ranjbarzadeh et al. 2022), a reconstruction: a shallow network of several feature-extraction routes.

Documented, in the abstract: a shallow network with several routes of feature extraction, an enhancement of the image
before it, and that each pixel is classified by the patch around it. It was made for mammograms.
Not documented, so ours: CLAHE as the enhancement, the number of routes, their widths and dilations, and that the
network runs over the whole image, which classifies all patches at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from sonoseg.models.blocks import ConvBlock
from sonoseg.models.network import Output, SegmentationNetwork

WIDTHS = (1, 32, 32, 64, 64)
"""Channels along a route, from the image on."""
ROUTES = ((1, 1, 1, 1), (1, 2, 4, 8), (1, 4, 8, 16))
"""The dilations along each route: with kernels of one size, they see 9, 31 or 59 pixels across."""


@dataclass(frozen=True)
class MrfeCnnConfig:
    """The reconstruction has no options."""

    encoders: ClassVar[tuple[str, ...]] = ()
    attention: ClassVar[str] = "none"
    frozen: ClassVar[bool] = False

    def build(self, dropout: float = 0.3, pretrained: bool = False) -> MrfeCnn:
        return MrfeCnn(dropout)


class MrfeCnn(SegmentationNetwork):
    """CLAHE → three routes of four convolutions at full resolution → three 1×1 layers; 228,577 parameters.

    A reconstruction; the head of this module says what is documented.

    Args:
        dropout: share of the first 1×1 layer's outputs that training drops.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.routes = nn.ModuleList(make_route(dilations) for dilations in ROUTES)
        self.bottleneck = nn.Identity()
        joined = len(ROUTES) * WIDTHS[-1]
        first = nn.Sequential(nn.Conv2d(joined, 128, 1), nn.ReLU(), nn.Dropout(dropout))
        second = nn.Sequential(nn.Conv2d(128, 64, 1), nn.ReLU())
        self.stages = nn.ModuleList([first, second])
        self.head = nn.Conv2d(64, 1, 1)

    def encode(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 1 or 3, H, W) in 0..1 → features (N, 192, H, W), and the maps of the layers before, all (N, C, H, W)."""
        enhanced = equalize(image.mean(1, keepdim=True))
        on_routes = [enhanced] * len(self.routes)
        maps = []
        for depth in range(len(WIDTHS) - 1):
            for number, route in enumerate(self.routes):
                on_routes[number] = route[depth](on_routes[number])  # type: ignore[index]  # a ModuleList
            maps.append(torch.cat(on_routes, 1))
        return maps[-1], maps[:-1]

    def decode(
        self, features: Tensor, maps: list[Tensor], size: Sequence[int]
    ) -> Output:
        x = self.bottleneck(features)
        for stage in self.stages:
            x = stage(x)
        return Output(self.head(x))


def make_route(dilations: Sequence[int]) -> nn.ModuleList:
    """The convolutions of one route, one for each dilation."""
    route = nn.ModuleList()
    for (inputs, outputs), dilation in zip(pairwise(WIDTHS), dilations, strict=True):
        route.append(ConvBlock(inputs, outputs, dilation=dilation))
    return route


@torch.no_grad()
def equalize(
    image: Tensor, tiles: int = 8, levels: int = 256, limit: float = 2.0
) -> Tensor:
    """Contrast-limited adaptive histogram equalisation, CLAHE (Zuiderveld 1994).

    Every tile of the image has its own mapping of grey levels, the running sum of its histogram. The new level of a
    pixel is interpolated between the mappings of the four tiles around it.

    Args:
        image: (N, 1, H, W) in 0..1, H and W multiples of `tiles`.
        tiles: number of tiles along each side.
        levels: number of grey levels.
        limit: a level counts at most this many times the mean count; the rest is spread over all levels.

    Returns:
        (N, 1, H, W) in 0..1.
    """
    count = image.shape[0]
    height, width = image.shape[2] // tiles, image.shape[3] // tiles  # of a tile
    grey = (image.float() * (levels - 1)).round().long().clamp(0, levels - 1)
    in_tiles = grey.view(count, tiles, height, tiles, width).transpose(2, 3)
    pixels = in_tiles.reshape(count, tiles**2, -1)
    histogram = torch.zeros(count, tiles**2, levels, device=image.device)
    histogram = histogram.scatter_add(
        2, pixels, torch.ones_like(pixels, dtype=histogram.dtype)
    )
    cut = histogram.clamp(max=limit * height * width / levels)
    cut = cut + (height * width - cut.sum(2, keepdim=True)) / levels
    maps = cut.cumsum(2).flatten(1) / (height * width)
    flat = grey.flatten(1)
    top, bottom, down = _neighbours(height, tiles, image.device)
    left, right, across = _neighbours(width, tiles, image.device)
    result = torch.zeros_like(flat, dtype=maps.dtype)
    for row, vertical in ((top, 1 - down), (bottom, down)):
        for column, horizontal in ((left, 1 - across), (right, across)):
            tile = (row[:, None] * tiles + column).flatten()
            share = (vertical[:, None] * horizontal).flatten()
            result = result + share * maps.gather(1, tile * levels + flat)
    return result.view_as(image)


def _neighbours(
    length: int, tiles: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel along an axis of `tiles` tiles of `length` pixels: the tiles around it, and where it lies between.

    Returns:
        The number of the tile whose centre is before the pixel, that of the next one, and the distance from the first
        centre as a share of `length`.
    """
    place = (torch.arange(length * tiles, device=device) + 0.5) / length - 0.5
    place = place.clamp(0, tiles - 1)
    before = place.long()
    return before, (before + 1).clamp(max=tiles - 1), place - before
